#!/usr/bin/env node
/** The executable `inmesh`. Everything else is in program.ts, so that tests can run it without a process. */
import { runCli } from './program.ts'

// The reader of a pipe may leave early (`| head`); that is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

process.exitCode = await runCli(process.argv.slice(2), process)
