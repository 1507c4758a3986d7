/**
 * The version that processes are upgraded from: the checkout that `INMESH_OLDER` names, or the
 * sources of a pinned commit, taken from the history of this repository.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
/** The last one that knows of one transport only. */
const PINNED = 'fcf58e31f20e'

const GIVEN = process.env.INMESH_OLDER || undefined

/** `undefined`: it can be had. */
export const WITHOUT_OLDER: string | undefined = reason()

function reason(): string | undefined {
  if (GIVEN !== undefined) {
    const there = ['dist/index.js', 'src/index.ts'].some((file) => existsSync(join(GIVEN, file)))
    return there ? undefined : `INMESH_OLDER has neither dist nor src: ${GIVEN}`
  }
  try {
    execFileSync('git', ['-C', ROOT, 'cat-file', '-e', `${PINNED}^{commit}`], { stdio: 'ignore' })
    return undefined
  } catch {
    return `no git, or no commit ${PINNED} in its history; set INMESH_OLDER to an older checkout`
  }
}

/** The folder of the older version; sources of the pinned commit are put below `directory`. */
export function olderLibrary(directory: string): string {
  if (GIVEN !== undefined) return resolve(GIVEN)
  const folder = join(directory, 'older')
  mkdirSync(folder)
  const archive = execFileSync('git', ['-C', ROOT, 'archive', PINNED, 'src', 'package.json'], { maxBuffer: 2 ** 28 })
  execFileSync('tar', ['-x', '-C', folder], { input: archive })
  // Its dependencies are those of today.
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return folder
}
