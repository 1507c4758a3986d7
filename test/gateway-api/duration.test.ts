/** GEP-2257, "Test Vectors". */
import { expect, test } from 'vitest'
import { parseGatewayDuration } from '../../src/gateway-api/duration.ts'

test.each([
  ['0h', 0],
  ['0s', 0],
  ['0h0m0s', 0],
  ['1h', 3_600_000],
  ['500ms', 500],
  ['2h30m', 9_000_000],
  ['7230s', 7_230_000],
  ['1h30m10s', 5_410_000],
  ['10s30m1h', 5_410_000],
  ['100ms200ms300ms', 600],
  ['00060m', 3_600_000],
])('%s is a duration of %i ms', (text, ms) => {
  expect(parseGatewayDuration(text)).toBe(ms)
})

test.each(['1', '1m1', '1d', '1h30m10s20ms50h', '999999h', '1.5h', '-15m', '', '0', 10, null, '1s '])(
  '%s is no duration',
  (text) => {
    expect(parseGatewayDuration(text)).toBeUndefined()
  },
)
