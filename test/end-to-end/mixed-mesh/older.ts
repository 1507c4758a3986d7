/**
 * The version that processes are upgraded from: the checkout that `INMESH_OLDER` names, or the
 * sources of a pinned commit, taken from the history of this repository.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
/** The last one that knows of one transport only. */
const PINNED = 'fcf58e31f20e'

const GIVEN = process.env.INMESH_OLDER || undefined

/** Whether it knows of one transport only; of a given checkout nothing is known. */
export const OF_ONE_TRANSPORT: boolean = GIVEN === undefined

/** `undefined`: it can be had. */
export const WITHOUT_OLDER: string | undefined = reason()

function reason(): string | undefined {
  if (GIVEN !== undefined) {
    return built(GIVEN) === undefined ? `INMESH_OLDER has neither dist nor src: ${GIVEN}` : undefined
  }
  try {
    execFileSync('git', ['-C', ROOT, 'cat-file', '-e', `${PINNED}^{commit}`], { stdio: 'ignore' })
    return undefined
  } catch {
    return `no git, or no commit ${PINNED} in its history; set INMESH_OLDER to an older checkout`
  }
}

function built(checkout: string): 'dist' | 'src' | undefined {
  if (existsSync(join(checkout, 'dist/index.js'))) return 'dist'
  return existsSync(join(checkout, 'src/index.ts')) ? 'src' : undefined
}

/** A folder below `directory` with the older version, and with the dependencies of today. */
export function olderLibrary(directory: string): string {
  const folder = join(directory, 'older')
  mkdirSync(folder)
  if (GIVEN === undefined) {
    const archive = execFileSync('git', ['-C', ROOT, 'archive', PINNED, 'src', 'package.json'], { maxBuffer: 2 ** 28 })
    execFileSync('tar', ['-x', '-C', folder], { input: archive })
  } else {
    for (const part of [built(GIVEN)!, 'package.json']) {
      cpSync(join(GIVEN, part), join(folder, part), { recursive: true })
    }
  }
  // Another copy of grpc-js than the one of the test would be refused.
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return folder
}
