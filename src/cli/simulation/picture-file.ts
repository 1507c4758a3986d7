/** The file of a picture. Another run may replace a picture, and nothing else. */
import { accessSync, closeSync, constants, fstatSync, openSync, readSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Failure, invalidUsage } from '../failure.ts'

const BEGIN = '<svg'

/** Before a long run: @throws Failure if there is something else, or no place for it. */
export function checkPictureFile(file: string): void {
  let descriptor: number
  try {
    descriptor = openSync(file, 'r+')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unwritable(file, error)
    checkDirectory(file)
    return
  }
  try {
    // A pipe has nothing to lose.
    if (!fstatSync(descriptor).isFile()) return
    const bytes = Buffer.alloc(BEGIN.length)
    const count = readSync(descriptor, bytes, 0, BEGIN.length, 0)
    if (count > 0 && bytes.toString('latin1', 0, count) !== BEGIN) {
      throw invalidUsage(`--svg: ${file} is there already and no SVG; give another name`)
    }
  } catch (error) {
    throw error instanceof Failure ? error : unwritable(file, error)
  } finally {
    closeSync(descriptor)
  }
}

function checkDirectory(file: string): void {
  try {
    accessSync(dirname(file), constants.W_OK)
  } catch (error) {
    throw unwritable(file, error)
  }
}

/** @throws Failure if it cannot be written */
export function writePicture(file: string, picture: string): void {
  try {
    writeFileSync(file, picture)
  } catch (error) {
    throw unwritable(file, error)
  }
}

function unwritable(file: string, error: unknown): Failure {
  return invalidUsage(`--svg: cannot write ${file}: ${(error as Error).message}`)
}
