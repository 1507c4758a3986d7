/** Keys that one reader of JSON would take from their first place and another from their last. */
import { expect, test } from 'vitest'
import { duplicateKey } from '../../../src/discovery/registry/duplicate-key.ts'

test.each([
  ['{"a":1,"a":2}', 'a'],
  ['{"a":1,"\\u0061":2}', 'a'],
  ['{"x":[{"b":{}},{"c":1,"d":"}","c" : 2}]}', 'c'],
  ['{"a\\"b":1, "a\\"b"\n:2}', 'a"b'],
  ['{"":1,"":2}', ''],
  ['[[],{"a":[]},{"e":"e","e":"e"}]', 'e'],
])('in %s is found', (text, key) => {
  expect(duplicateKey(text)).toBe(key)
})

test.each([
  '{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}]}',
  '{"a":"a","b":"a\\":\\"a","c":["a","a"]}',
  '{"a":"\\\\","b":"{\\"a\\":1}"}',
  '{"a":"","b":"\\\\\\"","c":"\\"a\\":"}',
  '"a"',
  'null',
  '{}',
])('there is none in %s', (text) => {
  expect(duplicateKey(text)).toBeUndefined()
})
