import fc from 'fast-check'
import { expect, it } from 'vitest'
import { safeText } from '../../../src/telemetry/access-log/safe-text.ts'

it('keeps ordinary text', () => {
  expect(safeText('/items/42/größe', 100)).toBe('/items/42/größe')
})

it('escapes what a terminal or a reader of lines would act on', () => {
  expect(safeText('a\u001b[31m\r\nb\u0085\u2028\u202e\u200b\ud800', 100)).toBe(
    'a\\u{1b}[31m\\u{d}\\u{a}b\\u{85}\\u{2028}\\u{202e}\\u{200b}\\u{d800}',
  )
})

it('hides secrets by their form', () => {
  for (const secret of ['Bearer abc', '/reset/eyJhbGciOi.eyJzdWIiOi.c2ln', 'https://user:word@host/']) {
    expect(safeText(secret, 100)).toBe('[redacted]')
  }
})

it('is never longer than its bound, and never has a control, whatever the text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), fc.integer({ min: 16, max: 64 }), (text, longest) => {
      const safe = safeText(text, longest)
      expect(safe.length).toBeLessThanOrEqual(longest)
      expect(safe).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u)
    }),
  )
})
