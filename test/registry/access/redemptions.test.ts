/** Uses of join tokens: each is given once, and a crowd is written together. */
import { expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { Redemptions } from '../../../src/registry/access/redemptions.ts'
import { KEYS, type TokenRecord } from '../../../src/registry/records.ts'
import { RegistryState } from '../../../src/registry/state.ts'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'

async function withToken(uses: number): Promise<{ state: RegistryState; redemptions: Redemptions }> {
  const state = await RegistryState.load(new MemoryStorage(), () => {})
  const now = Date.now()
  const record: TokenRecord = {
    id: 'id',
    service: 'stock',
    uses,
    usesLeft: uses,
    createdAt: now,
    expiresAt: now + 600_000,
    by: 'test',
  }
  await state.write([{ key: KEYS.token('hash'), value: JSON.stringify(record) }])
  return { state, redemptions: new Redemptions(state, systemClock) }
}

const codeOf = (result: PromiseSettledResult<void>): string =>
  result.status === 'fulfilled' ? 'taken' : result.reason.code

test('joins that ask together are written together, each for one use', async () => {
  const { state, redemptions } = await withToken(500)
  const before = state.revision
  await Promise.all(Array.from({ length: 500 }, () => redemptions.redeem('hash', 'stock')))
  expect(state.tokens.get('hash')!.usesLeft).toBe(0)
  // The first begins at once, and the others wait for it.
  expect(state.revision - before).toBe(2)
})

test('of more joins than uses the first get in, and each of the others is told why not', async () => {
  const { state, redemptions } = await withToken(3)
  const asked = ['stock', 'stock', 'other', 'stock', 'stock'].map((service) => redemptions.redeem('hash', service))
  const results = await Promise.allSettled([...asked, redemptions.redeem('none', 'stock')])
  expect(results.map(codeOf)).toEqual(['taken', 'taken', 'token-wrong-service', 'taken', 'token-used', 'token-unknown'])
  expect(state.tokens.get('hash')!.usesLeft).toBe(0)
})

test('a use that another registry takes in between is not given again', async () => {
  const { state, redemptions } = await withToken(2)
  const { hash: _hash, revision: _revision, ...record } = state.tokens.get('hash')!
  const elsewhere = state.write([{ key: KEYS.token('hash'), value: JSON.stringify({ ...record, usesLeft: 1 }) }])
  const results = await Promise.allSettled([
    redemptions.redeem('hash', 'stock'),
    redemptions.redeem('hash', 'stock'),
    elsewhere,
  ])
  expect(results.slice(0, 2).map((result) => codeOf(result as PromiseSettledResult<void>))).toEqual([
    'taken',
    'token-used',
  ])
})

test('a store that cannot be written refuses those who wait for it, and serves the next', async () => {
  const { state, redemptions } = await withToken(2)
  const { write } = state
  state.write = () => Promise.reject(new Error('disk full'))
  const results = await Promise.allSettled([redemptions.redeem('hash', 'stock'), redemptions.redeem('hash', 'stock')])
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  state.write = write
  await redemptions.redeem('hash', 'stock')
  expect(state.tokens.get('hash')!.usesLeft).toBe(1)
})

test('a key that has taken a use takes no second, also when all are spent', async () => {
  const { state, redemptions } = await withToken(2)
  await redemptions.redeem('hash', 'stock', 'key-a')
  const results = await Promise.allSettled([
    redemptions.redeem('hash', 'stock', 'key-a'),
    redemptions.redeem('hash', 'stock', 'key-b'),
    redemptions.redeem('hash', 'stock', 'key-b'),
    redemptions.redeem('hash', 'stock', 'key-c'),
    redemptions.redeem('hash', 'stock'),
    redemptions.redeem('hash', 'other', 'key-a'),
  ])
  expect(results.map(codeOf)).toEqual(['taken', 'taken', 'taken', 'token-used', 'token-used', 'token-wrong-service'])
  expect(state.tokens.get('hash')).toMatchObject({ usesLeft: 0, keys: ['key-a', 'key-b'] })
})

test('only the last 100 keys of a token are remembered', async () => {
  const { state, redemptions } = await withToken(200)
  for (let i = 0; i < 150; i++) await redemptions.redeem('hash', 'stock', `key-${i}`)
  expect(state.tokens.get('hash')!.keys).toHaveLength(100)
  await redemptions.redeem('hash', 'stock', 'key-149')
  expect(state.tokens.get('hash')!.usesLeft).toBe(50)
})
