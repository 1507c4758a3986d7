import { expect, it } from 'vitest'
import { digitsOf, lengthOf } from '../../src/core/digits.ts'

it('a number in a head has a bounded count of digits, and nothing else', () => {
  for (const text of ['0', '7', '007', '123456789']) expect(digitsOf(text, 9), text).toBe(Number(text))
  for (const text of ['', '-1', '+1', ' 1', '1 ', '1.0', '1e3', '0x1', '٣', '1234567890']) {
    expect(digitsOf(text, 9), text).toBe(-1)
  }
})

it('a content-length has at most 15 digits, all of which count', () => {
  expect(lengthOf('999999999999999')).toBe(999_999_999_999_999)
  expect(lengthOf('1000000000000000')).toBe(-1)
})
