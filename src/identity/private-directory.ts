/** Makes directories for what only this process's user may read. */
import { chmodSync, mkdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

const MODE = 0o700

/**
 * With its parents, and not at all where it is there. One at a time: where a directory takes no
 * entries but has no error for that, as `/proc`, Node's recursive `mkdir` never ends.
 */
export function makePrivateDirectory(directory: string): void {
  const path = resolve(directory)
  const missing: string[] = []
  for (let at = path; isMissing(at); at = dirname(at)) missing.unshift(at)
  for (const each of missing) {
    try {
      mkdirSync(each, { mode: MODE })
    } catch (error) {
      // Another process was faster.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || isMissing(each)) throw error
      continue
    }
    // What is made is subject to the umask.
    if (each === path) chmodSync(each, MODE)
  }
  // The error that Node has for it.
  if (!statSync(path).isDirectory()) mkdirSync(path)
}

function isMissing(path: string): boolean {
  return dirname(path) !== path && statSync(path, { throwIfNoEntry: false }) === undefined
}
