#!/usr/bin/env node
/**
 * The executable `inmesh`. Everything else is in program.ts, so that tests can run it without a
 * process.
 */
/** As in package.json. An older Node fails to load the rest with an unhelpful message. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  console.error(`inmesh needs Node 22.19 or later; this is ${process.versions.node}.`)
  process.exit(2)
}
const { runCli } = await import('./program.ts')

// The reader of a pipe may close it early (`| head`); that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

process.exitCode = await runCli(process.argv.slice(2), process)
