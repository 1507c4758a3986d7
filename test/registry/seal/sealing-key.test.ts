import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { SealBroken, type SealedValue, SealingKey, sealedValueOf } from '../../../src/registry/seal/sealing-key.ts'

const bytes = randomBytes(32)
const key = new SealingKey(bytes)
const sealed = (record: string, value: string): SealedValue => sealedValueOf(JSON.parse(key.seal(record, value)))!

test('opens what it sealed, and seals the same text differently each time', () => {
  const text = '{"privateKey":"…é𝄞"}'
  expect(key.open('ca/root', sealed('ca/root', text))).toBe(text)
  expect(key.open('ca/root', sealed('ca/root', ''))).toBe('')
  const nonces = new Set(Array.from({ length: 100 }, () => sealed('ca/root', text).nonce))
  expect(nonces.size).toBe(100)
  expect(key.seal('ca/root', text)).not.toContain('privateKey')
})

test('opens nothing that was changed, cut, moved to another record, or sealed with another key', () => {
  const value = sealed('ca/root', 'secret')
  const data = Buffer.from(value.data, 'base64')
  for (let i = 0; i < data.length; i++) {
    const changed = Buffer.from(data)
    changed[i]! ^= 1
    expect(() => key.open('ca/root', { ...value, data: changed.toString('base64') }), `byte ${i}`).toThrow(SealBroken)
  }
  for (const cut of [0, 1, 15, 16, data.length - 1]) {
    expect(() => key.open('ca/root', { ...value, data: data.subarray(0, cut).toString('base64') })).toThrow(SealBroken)
  }
  for (const nonce of ['', 'AAAA', Buffer.alloc(12).toString('base64')]) {
    expect(() => key.open('ca/root', { ...value, nonce })).toThrow(SealBroken)
  }
  expect(() => key.open('ca/other', value)).toThrow(SealBroken)
  expect(() => new SealingKey(randomBytes(32)).open('ca/root', value)).toThrow(SealBroken)
})

test('tells a sealed value from a plain one, and refuses a form that it does not know', () => {
  expect(sealedValueOf({ privateKey: 'x' })).toBeUndefined()
  expect(sealedValueOf('sealed')).toBeUndefined()
  expect(sealedValueOf(null)).toBeUndefined()
  expect(() => sealedValueOf({ sealed: 2, keyId: 'a', nonce: 'b', data: 'c' })).toThrow(SealBroken)
  expect(() => sealedValueOf({ sealed: 1, keyId: 'a', nonce: 'b' })).toThrow(SealBroken)
})

test('shows its id and never its key', () => {
  expect(key.id).toMatch(/^[0-9a-f]{16}$/)
  expect(new SealingKey(bytes).id).toBe(key.id)
  const shown = inspect(key, { depth: 9, showHidden: true }) + JSON.stringify(key)
  for (const form of ['hex', 'base64'] as const) expect(shown).not.toContain(bytes.toString(form))
})
