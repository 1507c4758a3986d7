/**
 * `npm run -s build`, unless `dist` is made from the files that there are: `npm test` and
 * `npm run demo` begin with it. `--note` writes down what `dist` is made from.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'

const NOTE = 'dist/.made-from'
const DIRECTORIES = ['src', 'build']
const FILES = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'ui.config.ts']

/** A changed file has another time, a removed one is not listed. */
function sources(): string {
  const listed = DIRECTORIES.flatMap((directory) =>
    readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((name) => `${directory}/${name}`),
  )
  const hash = createHash('sha256')
  for (const file of [...listed, ...FILES].sort()) {
    const stats = statSync(file)
    if (stats.isFile()) hash.update(`${file} ${stats.size} ${stats.mtimeMs}\n`)
  }
  return hash.digest('hex')
}

function noted(): string | undefined {
  try {
    return readFileSync(NOTE, 'utf8')
  } catch {
    return undefined
  }
}

if (process.argv[2] === '--note') writeFileSync(NOTE, sources())
else if (noted() !== sources()) {
  const { status } = spawnSync('npm', ['run', '-s', 'build'], { stdio: 'inherit', shell: process.platform === 'win32' })
  process.exitCode = status ?? 1
}
