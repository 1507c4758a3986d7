/**
 * Where a join token comes from: a file that is read anew, or a function that is asked once for
 * each join.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createToken, formatToken } from '../../src/identity/join-token.ts'
import { JoinTokens, TokenAwaited } from '../../src/mesh/join-token.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const FINGERPRINT = 'f'.repeat(43)
const newToken = (): string => formatToken(createToken('join', FINGERPRINT))
const refusal = (message: RegExp, awaited: boolean) => ({
  code: 'join-refused',
  message: expect.stringMatching(message),
  ...(awaited && { cause: expect.any(TokenAwaited) }),
})

describe('a function as joinToken', () => {
  function asking(joinToken: () => string | Promise<string>) {
    const clock = new FakeClock()
    const give = vi.fn(joinToken)
    return { clock, give, tokens: new JoinTokens({ service: 'a', joinToken: give, joinTokenFile: undefined, clock }) }
  }

  test('is asked once until its token was shown to a registry', async () => {
    const { give, tokens, clock } = asking(newToken)
    const first = await tokens.ask(1_000)
    expect(await tokens.ask(1_000)).toBe(first)
    expect(give).toHaveBeenCalledTimes(1)
    tokens.spent()
    expect(await tokens.ask(1_000)).not.toEqual(first)
    expect(give).toHaveBeenCalledTimes(2)
    expect(clock.timers).toBe(0)
  })

  test('is asked again for a token that has waited for a registry for long', async () => {
    const { give, tokens, clock } = asking(newToken)
    await tokens.ask(1_000)
    clock.advance(60_001)
    await tokens.ask(1_000)
    expect(give).toHaveBeenCalledTimes(2)
  })

  test.each<[string, () => string | Promise<string>, RegExp, boolean]>([
    [
      'throws',
      () => {
        throw new Error('the vault is sealed')
      },
      /function 'joinToken' cannot be had: the vault is sealed/,
      true,
    ],
    ['rejects', () => Promise.reject(new Error('the vault is sealed')), /cannot be had: the vault is sealed/, true],
    ['throws no error', () => Promise.reject('no'), /cannot be had: it threw/, true],
    ['gives an admin token', () => formatToken(createToken('admin', FINGERPRINT)), /is no join token/, false],
    ['gives a number', () => 5 as never, /function 'joinToken' is no join token/, false],
    ['gives null', () => null as never, /is no join token/, false],
  ])('that %s is named, and asked again the next time', async (_what, joinToken, message, awaited) => {
    const { give, tokens, clock } = asking(joinToken)
    for (let i = 1; i <= 2; i++) {
      await expect(tokens.ask(1_000)).rejects.toMatchObject(refusal(message, awaited))
      expect(give).toHaveBeenCalledTimes(i)
    }
    expect(clock.timers).toBe(0)
  })

  test('that never answers is named when its time is over', async () => {
    const { tokens, clock } = asking(() => new Promise(() => {}))
    const asked = expect(tokens.ask(800)).rejects.toMatchObject(refusal(/it gave none within 800 ms/, true))
    await clock.settle(800)
    await asked
    const long = expect(tokens.ask(Number.POSITIVE_INFINITY)).rejects.toMatchObject(refusal(/within 10000 ms/, true))
    await clock.settle(10_000)
    await long
    expect(clock.timers).toBe(0)
  })
})

describe('a file as joinTokenFile', () => {
  let directory: string
  let path: string
  let tokens: JoinTokens

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'inmesh-test-'))
    path = join(directory, 'token')
    tokens = new JoinTokens({ service: 'a', joinToken: undefined, joinTokenFile: path, clock: new FakeClock() })
  })

  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  test('is read each time, also through a link that was turned', async () => {
    const [first, second] = [newToken(), newToken()]
    writeFileSync(join(directory, '1'), `${first}\n`)
    writeFileSync(join(directory, '2'), second)
    symlinkSync('1', path)
    expect(formatToken((await tokens.ask(1_000))!)).toBe(first)
    rmSync(path)
    symlinkSync('2', path)
    expect(formatToken((await tokens.ask(1_000))!)).toBe(second)
  })

  test.each<[string, () => void, RegExp]>([
    ['is missing', () => {}, /token cannot be read: ENOENT/],
    ['is empty', () => writeFileSync(path, ''), /token is no join token; make one by/],
    ['holds half a token', () => writeFileSync(path, newToken().slice(0, 40)), /is no join token/],
    ['is a directory', () => mkdirSync(path), /cannot be read: it is not a regular file/],
    ['is a pipe that nobody writes', () => execFileSync('mkfifo', [path]), /it is not a regular file/],
    ['is a terabyte', () => sparse(path), /it has more than 4096 bytes/],
    ['links to itself', () => symlinkSync('token', path), /cannot be read: ELOOP/],
    ['every user may write', () => openToAll(path), /every user of this machine may write it.*chmod o-w/],
  ])('that %s is named, and may be right a little later', async (_what, make, message) => {
    make()
    await expect(tokens.ask(1_000)).rejects.toMatchObject(refusal(message, true))
    rmSync(path, { recursive: true, force: true })
    writeFileSync(path, newToken())
    expect(await tokens.ask(1_000)).toMatchObject({ kind: 'join' })
  })
})

function sparse(path: string): void {
  writeFileSync(path, newToken())
  truncateSync(path, 2 ** 40)
}

function openToAll(path: string): void {
  writeFileSync(path, newToken())
  chmodSync(path, 0o666)
}
