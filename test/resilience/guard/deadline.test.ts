import { describe, expect, it } from 'vitest'
import { Call } from '../../../src/core/call.ts'
import { serving } from '../../../src/core/context.ts'
import { guard } from '../../../src/resilience/guard/guard.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { KIND } from '../conformance.ts'

/** A guarded function that takes `ms`, called within requests whose deadline is `boundMs` away. */
function setUp(ms: () => number) {
  const clock = new FakeClock()
  clock.advance(1)
  const quote = guard(
    () =>
      new Promise((resolve) => {
        clock.startTimer(ms(), resolve, 'price')
      }),
    { clock, timeout: '5s', circuitBreaker: { minimumCalls: 5 }, name: 'quote' },
  )
  const within = async (boundMs: number): Promise<unknown> => {
    const inbound = new Call(KIND, clock.now(), clock.now() + boundMs, undefined)
    const done = serving(inbound, () => quote()).catch((error: { code: string }) => error.code)
    await clock.settle(Math.min(boundMs, ms()), 5)
    return done
  }
  return { within }
}

describe('a guarded function', () => {
  it('keeps its breaker closed when one caller allows less time than it usually takes', async () => {
    const { within } = setUp(() => 100)
    expect(await within(5_000)).toBe('price')
    for (let i = 0; i < 10; i++) expect(await within(10)).toBe('deadline-exceeded')
    expect(await within(5_000)).toBe('price')
  })

  it('opens its breaker when it hangs, although each caller allows less than its own timeout', async () => {
    let ms = 100
    const { within } = setUp(() => ms)
    expect(await within(1_000)).toBe('price')
    ms = 60_000
    const ends: unknown[] = []
    for (let i = 0; i < 10; i++) ends.push(await within(1_000))
    expect(ends.slice(0, 4)).toEqual(Array(4).fill('deadline-exceeded'))
    expect(ends).toContain('circuit-open')
  })
})
