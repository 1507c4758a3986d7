import { describe, expect, it } from 'vitest'
import { OptionsError } from '../../../src/options/fields.ts'
import { bulkhead, fallback, guarded, timeout } from '../../../src/resilience/guard/decorators.ts'
import { guard } from '../../../src/resilience/guard/guard.ts'

describe('what a guard cannot do anything with is refused', () => {
  it.each([
    ['nothing', undefined, /expected a function, got undefined/],
    ['a class', class Prices {}, /is a class; guard its methods/],
    ['a generator', function* () {}, /is a generator/],
    ['an async generator', async function* () {}, /is a generator/],
  ])('%s', (_, work, hint) => {
    expect(() => guard(work as never, { timeout: '1s' })).toThrow(hint)
    expect(() => guard(work as never)).toThrow(OptionsError)
  })

  it('a key, where no calls are shared', () => {
    expect(() => guard(async () => 1, { key: () => 'a' })).toThrow(/key: .*without `collapse` or `cache`/)
    expect(() => guarded({ key: () => 'a' })).toThrow(/key/)
    expect(() => guard(async () => 1, { key: () => 'a', collapse: false })).not.toThrow()
  })

  it.each([
    ['@timeout()', () => timeout(undefined as never), /timeout: is missing/],
    ['@bulkhead()', () => bulkhead(undefined as never), /bulkhead: is missing/],
    ['@fallback()', () => fallback(undefined as never), /fallback: is missing/],
    ['@guarded(null)', () => guarded(null as never), /expected an object of options, got null/],
    ['@guarded(5)', () => guarded(5 as never), /expected an object of options, got 5/],
    ['another scope', () => guarded({ scope: 'module' as never }), /scope: expected 'class' or 'instance'/],
  ])('%s', (_, decorate, hint) => {
    expect(decorate).toThrow(hint)
    expect(decorate).toThrow(OptionsError)
  })

  it('a generator method', () => {
    class Prices {
      *all() {}
    }
    const descriptor = Object.getOwnPropertyDescriptor(Prices.prototype, 'all')!
    expect(() => timeout('1s')(Prices.prototype, 'all', descriptor as never)).toThrow(/all is a generator/)
  })
})
