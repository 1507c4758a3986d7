import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { OptionsError } from '../../../src/options/fields.ts'
import { resolveRegistryOptions } from '../../../src/registry/options.ts'
import { outputOf, wordsOf } from '../../../src/registry/seal/key-command.ts'
import { readSealKey, type SealKeySource } from '../../../src/registry/seal/key-source.ts'

const key = randomBytes(32)
let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'inmesh-seal-'))
})
afterAll(() => {
  rmSync(directory, { recursive: true })
  vi.unstubAllEnvs()
})

let files = 0
function file(content: string | Buffer, mode = 0o600): string {
  const path = join(directory, `key-${++files}`)
  writeFileSync(path, content)
  chmodSync(path, mode)
  return path
}

const read = (source: SealKeySource) => readSealKey(source, 'sealKey')
async function refusal(source: SealKeySource): Promise<string> {
  const error = await read(source).then(
    () => expect.unreachable('accepted'),
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(OptionsError)
  return (error as Error).message
}

test.each([
  ['base64', key.toString('base64')],
  ['base64 and a newline', `${key.toString('base64')}\n`],
  ['base64url', key.toString('base64url')],
  ['hex', key.toString('hex')],
  ['upper-case hex and a newline', `${key.toString('hex').toUpperCase()}\r\n`],
])('reads 32 bytes as %s from a file, the environment, a command and a function', async (_form, text) => {
  const path = file(text)
  vi.stubEnv('INMESH_TEST_SEAL_KEY', text)
  for (const source of [
    `file:${path}`,
    'env:INMESH_TEST_SEAL_KEY',
    `cmd:cat '${path}'`,
    () => text,
    async () => text,
  ]) {
    expect(Buffer.from((await read(source)).key!)).toEqual(key)
  }
})

test('reads 32 random bytes as they are, from a file, an option and a function', async () => {
  const raw = Buffer.concat([Buffer.from([0xff]), key.subarray(1, 31), Buffer.from('\n')])
  for (const source of [`file:${file(raw)}`, raw, new Uint8Array(raw), () => raw]) {
    expect(Buffer.from((await read(source)).key!)).toEqual(raw)
  }
})

test('takes every other text of 12 characters or more for a passphrase', async () => {
  expect(await read(`file:${file('correct horse battery\n')}`)).toEqual({ passphrase: 'correct horse battery' })
  expect(await read(() => key.toString('hex').slice(1))).toEqual({ passphrase: key.toString('hex').slice(1) })
  for (const text of ['', '\n', 'short', '            \n']) {
    expect(await refusal(`file:${file(text)}`)).toMatch(/has no key; expected 32 bytes .*openssl rand -base64 32/)
  }
})

test('refuses a file that others can read with the command that helps', async () => {
  // The administrator may share a file with a group, also with one that root itself reads.
  const isRoot = process.getuid?.() === 0
  for (const mode of [0o644, 0o604, 0o620, ...(isRoot ? [] : [0o640])]) {
    const path = file(key.toString('hex'), mode)
    expect(await refusal(`file:${path}`)).toContain(`run 'chmod ${isRoot ? 440 : 600} ${path}'`)
  }
  if (isRoot) expect((await read(`file:${file(key.toString('hex'), 0o440)}`)).key).toBeDefined()
  const link = join(directory, 'link')
  symlinkSync(file(key.toString('hex')), link)
  expect((await read(`file:${link}`)).key).toBeDefined()
})

test.each([
  ['a file that is not there', () => 'file:/nonexistent/key', /\/nonexistent\/key cannot be read: ENOENT/],
  ['a directory', () => `file:${directory}`, /is no regular file/],
  ['a device', () => 'file:/dev/zero', /is no regular file/],
  ['a file that is too large', () => `file:${file('x'.repeat(5_000))}`, /more than 4096 bytes/],
  ['bytes that are no text', () => `file:${file(Buffer.from([0xff, 0xfe, 0xfd]))}`, /no text/],
  ['a variable that is not set', () => 'env:INMESH_TEST_NOT_SET', /INMESH_TEST_NOT_SET is not set/],
  ['a command that is not there', () => 'cmd:inmesh-no-such-command', /'inmesh-no-such-command' cannot be run: ENOENT/],
  ['a command that fails', () => 'cmd:sh -c "exit 7"', /'sh' ended with exit code 7; run it by hand/],
  ['a command that prints nothing', () => 'cmd:true', /the command has no key/],
  ['a command that prints without end', () => 'cmd:yes', /'yes' printed more than 4096 bytes/],
  ['a function that throws', () => () => Promise.reject(new Error('KMS says no')), /the function failed: KMS says no/],
  ['a function that gives no text', () => (() => 42) as never, /gave no text and no bytes/],
])('refuses %s in one sentence', async (_what, source, message) => {
  expect(await refusal(source())).toMatch(message)
})

test('no error shows a key, what a command printed, or its arguments', async () => {
  const secret = key.toString('hex')
  for (const source of [
    `cmd:sh -c "echo ${secret} >&2; echo ${secret}; exit 1"`,
    `file:${file(secret, 0o644)}`,
    `file:${file(`${secret}\n`.repeat(100))}`,
  ]) {
    expect(await refusal(source)).not.toContain(secret.slice(0, 20))
  }
  for (const sealKey of [secret, `key:${secret}`, `env:${secret}-`, Buffer.from(secret), 7, {}, '', 'file:', 'cmd:']) {
    let message = ''
    try {
      resolveRegistryOptions({ sealKey: sealKey as string })
    } catch (error) {
      message = (error as Error).message
    }
    expect(message).toMatch(/sealKey: expected/)
    expect(message).not.toContain(secret.slice(0, 20))
  }
})

test('a former seal key needs one that follows it', () => {
  expect(() => resolveRegistryOptions({ formerSealKey: 'env:OLD' })).toThrow(/sealKey: is missing/)
})

test('splits a command into words, and names what only a shell understands', () => {
  expect(wordsOf(`vault  kv get -field=key 'my secret' "a \\"b\\"" c\\ d ""`)).toEqual([
    'vault',
    'kv',
    'get',
    '-field=key',
    'my secret',
    'a "b"',
    'c d',
    '',
  ])
  for (const text of ['cat key | base64', 'echo $KEY', 'a; b', 'a > b', 'cat ~/key', 'echo `a`']) {
    expect(() => wordsOf(text)).toThrow(/runs without a shell, so quote/)
  }
  expect(() => wordsOf("cat 'key")).toThrow(/has a ' without its end/)
  expect(() => wordsOf('cat key\\')).toThrow(/ends with a backslash/)
  for (const text of [' ', "''"]) expect(() => wordsOf(text)).toThrow(/is empty/)
})

test('ends a command that does not end, and what it started', async () => {
  const path = join(directory, 'child')
  const command = `sh -c "sleep 600 & echo $! > ${path}; wait"`
  // Longer where a shell needs longer to begin.
  for (let ms = 500; !existsSync(path) || readFileSync(path, 'utf8') === ''; ms *= 4) {
    await expect(outputOf(command, ms)).rejects.toThrow(`the command 'sh' did not end within ${ms / 1_000} s`)
  }
  const child = Number(readFileSync(path, 'utf8'))
  const isRunning = (): boolean => {
    try {
      return !readFileSync(`/proc/${child}/stat`, 'utf8').includes(') Z ')
    } catch {
      return false
    }
  }
  await expect.poll(isRunning).toBe(false)
})
