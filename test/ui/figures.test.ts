/** Figures, findings and differences as the page shows them. */
import { describe, expect, it } from 'vitest'
import { changesBetween } from '../../src/ui/document/diff.ts'
import { counted, latency, percent, processName, rate, shares, span, UNKNOWN, until } from '../../src/ui/format.ts'

describe('a figure', () => {
  it('that is not known is a dash, and never 0', () => {
    expect([rate(null), percent(null), latency(null), shares(null), until(null, 0)]).toEqual(Array(5).fill(UNKNOWN))
    expect([rate(0), percent(0), latency(0)]).toEqual(['0/s', '0 %', '0 ms'])
  })

  it('is whole only if it is', () => {
    expect([1, 0.99999, 0.998, 0.5, 0.00001].map(percent)).toEqual(['100 %', '99.9 %', '99.8 %', '50 %', '<0.1 %'])
    // 99.5 % is well, and 99.46 % is not.
    expect([0.995, 0.9946].map(percent)).toEqual(['99.5 %', '99.4 %'])
  })

  it('has the digits that the histograms have', () => {
    expect([0.8342, 12.345, 148.2, 1_234].map(latency)).toEqual(['0.83 ms', '12.3 ms', '148 ms', '1.2 s'])
    expect([5_000, 300_000, 7_200_000, 86_400_000 * 30].map(span)).toEqual(['5 s', '5 min', '2 h', '30 d'])
  })

  it('of a process does not say its service twice', () => {
    expect(['shop shop-1a2b', 'shop pod-7', 'shop'].map(processName)).toEqual(['shop-1a2b', 'shop pod-7', 'shop'])
  })

  it('of versions is in their order', () => {
    expect(shares({ v10: 0.1, v2: 0.2, v1: 0.7 })).toBe('v1 70 %, v2 20 %, v10 10 %')
  })
})

describe('the difference of two documents', () => {
  it('is each leaf that was changed, added or removed', () => {
    const before = { service: 'a', retry: { attempts: 2 }, allow: [{ from: 'b' }], timeout: '1s' }
    const after = { service: 'a', retry: { attempts: 3 }, allow: [{ from: 'b' }, { from: 'c' }] }
    expect(changesBetween(before, after)).toEqual([
      { path: 'allow[1].from', was: undefined, is: '"c"' },
      { path: 'retry.attempts', was: '2', is: '3' },
      { path: 'timeout', was: '"1s"', is: undefined },
    ])
  })

  it('is everything for the first, and nothing for the same', () => {
    expect(changesBetween(null, { service: 'a', routes: [] })).toEqual([
      { path: 'routes', was: undefined, is: '[]' },
      { path: 'service', was: undefined, is: '"a"' },
    ])
    expect(changesBetween({ a: { b: 1 } }, { a: { b: 1 } })).toEqual([])
  })
})

it('what is counted is singular for one only', () => {
  expect([0, 1, 2].map((n) => counted(n, 'process', 'processes'))).toEqual(['0 processes', '1 process', '2 processes'])
  expect(counted(1, 'endpoint') + counted(3, 'endpoint')).toBe('1 endpoint3 endpoints')
})
