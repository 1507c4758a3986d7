/**
 * JSON from outside: the same answer whether the text is short and harmless, or has to be looked at
 * key by key.
 */
import { expect, test } from 'vitest'
import { parseSafeJson } from '../../../src/registry/api/safe-json.ts'

test.each([
  ['a key', '{"__proto__":{"polluted":1}}'],
  ['a nested key', '{"a":[{"b":{"constructor":{"prototype":{}}}}]}'],
  ['a key in disguise', '{"\\u005f_proto__":1}'],
  ['a key behind much text', `{"text":"${'x'.repeat(10_000)}","prototype":1}`],
])('refuses %s that reaches into prototypes', (_what, text) => {
  expect(() => parseSafeJson(text)).toThrow(SyntaxError)
  expect(() => parseSafeJson(text)).toThrow(/the key '.*' is not allowed/)
})

test('takes such words as values, and escapes that are none of them', () => {
  const value = { a: 'constructor', b: ['__proto__', 'prototype'], ä: '\u0001' }
  expect(parseSafeJson(JSON.stringify(value))).toEqual(value)
})

test('says that a text is nested too deeply instead of losing its stack', () => {
  expect(() => parseSafeJson(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)).toThrow(SyntaxError)
})

test('throws a SyntaxError for what is no JSON, short or long', () => {
  expect(() => parseSafeJson('{')).toThrow(SyntaxError)
  expect(() => parseSafeJson(`{"a":"${'x'.repeat(10_000)}"`)).toThrow(SyntaxError)
})
