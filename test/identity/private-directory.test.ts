/** Directories for private files, where a file system takes none. */
import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { makePrivateDirectory } from '../../src/identity/private-directory.ts'

const folder = mkdtempSync(join(tmpdir(), 'inmesh-directory-test-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8)

it('makes a directory and its parents for this user alone, whatever the umask', () => {
  const before = process.umask(0o277)
  try {
    expect(() => makePrivateDirectory(join(folder, 'a'))).not.toThrow()
  } finally {
    process.umask(before)
  }
  makePrivateDirectory(join(folder, 'b/c/d'))
  expect(['a', 'b', 'b/c', 'b/c/d'].map((path) => modeOf(join(folder, path)))).toEqual(['700', '700', '700', '700'])
})

it('leaves one that is there as it is', () => {
  makePrivateDirectory('/')
  makePrivateDirectory(folder)
  expect(modeOf(folder)).toBe('700')
})

it('fails at a file, and at a link that leads nowhere', () => {
  writeFileSync(join(folder, 'file'), '')
  expect(() => makePrivateDirectory(join(folder, 'file'))).toThrow('EEXIST')
  symlinkSync(join(folder, 'nowhere'), join(folder, 'link'))
  expect(() => makePrivateDirectory(join(folder, 'file/data'))).toThrow('ENOTDIR')
  expect(() => makePrivateDirectory(join(folder, 'link/data'))).toThrow('EEXIST')
})

it.runIf(process.platform === 'linux')('fails in /proc, where a recursive mkdir of Node never ends', () => {
  expect(() => makePrivateDirectory('/proc/inmesh/data')).toThrow('ENOENT')
})
