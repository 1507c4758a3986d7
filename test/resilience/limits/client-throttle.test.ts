import { describe, expect, it } from 'vitest'
import { NOT_STARTED, type Outcome, outcome, SUCCESS } from '../../../src/core/outcome.ts'
import { ClientThrottle, THROTTLE, type ThrottleOptions } from '../../../src/resilience/limits/client-throttle.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

const OVERLOADED = outcome('failure', 'overloaded', undefined, 503)

function setUp(options?: ThrottleOptions) {
  const clock = new FakeClock({ seed: 4 })
  const events: [boolean, number][] = []
  const throttle = new ClientThrottle('inventory', THROTTLE.resolve(options), clock, (_, on, share) =>
    events.push([on, share]),
  )
  /**
   * Offers attempts for some seconds; `answer` says how the service answers one. Returns what was
   * sent.
   */
  const offer = (seconds: number, perSecond: number, answer: (sent: number) => Outcome): number => {
    let sent = 0
    for (let i = 0; i < seconds * perSecond; i++) {
      clock.advance(1_000 / perSecond)
      if (throttle.admit() !== undefined) continue
      sent += 1
      throttle.settle(undefined, answer(sent))
    }
    return sent
  }
  return { clock, throttle, offer, events }
}

describe('client throttling', () => {
  it('does not take the leaving of an instance for overload, however many calls it leaves behind', () => {
    const { offer, throttle } = setUp()
    expect(offer(10, 100, () => outcome('refused', 'refused-by-peer'))).toBe(1_000)
    expect(throttle.share).toBe(0)
    offer(10, 100, () => outcome('refused', 'refused-by-peer', undefined, 503))
    expect(throttle.share).toBeGreaterThan(0.5)
  })

  it('holds nothing back while at least half is accepted', () => {
    const { offer, throttle } = setUp()
    expect(offer(20, 100, (i) => (i % 5 < 2 ? OVERLOADED : SUCCESS))).toBe(2_000)
    expect(throttle.share).toBe(0)
  })

  it('sends about twice what is accepted when a service takes a tenth', () => {
    const { clock, offer, throttle, events } = setUp({ maxShare: '99%' })
    // It takes 10 a second of the 100 that are offered.
    let second = -1
    let taken = 0
    const answer = (): Outcome => {
      const now = Math.floor(clock.now() / 1_000)
      if (now !== second) taken = 0
      second = now
      taken += 1
      return taken <= 10 ? SUCCESS : OVERLOADED
    }
    offer(30, 100, answer)
    const perSecond = offer(30, 100, answer) / 30
    expect(perSecond).toBeGreaterThan(15)
    expect(perSecond).toBeLessThan(30)
    expect(throttle.share).toBeGreaterThan(0.7)
    expect(events[0]![0]).toBe(true)
  })

  it('lets a quarter through however bad it is, and lets go when the service is back', () => {
    const { offer, throttle, events } = setUp()
    offer(20, 100, () => OVERLOADED)
    expect(throttle.share).toBe(0.75)
    const sent = offer(10, 100, () => OVERLOADED)
    expect(sent / 1_000).toBeCloseTo(0.25, 1)
    offer(30, 100, () => SUCCESS)
    expect(throttle.share).toBe(0)
    expect(events.map(([on]) => on)).toEqual([true, false])
  })

  it('does nothing below five attempts a second', () => {
    const { offer } = setUp()
    expect(offer(60, 4, () => OVERLOADED)).toBe(240)
  })

  it('does not count what failed otherwise, was given up, or was never started', () => {
    const { offer, throttle } = setUp()
    const ends = [
      outcome('failure', 'server-error', undefined, 500),
      outcome('failure', 'attempt-timeout'),
      outcome('cancelled', 'cancelled'),
      outcome('refused', 'connect-failed'),
      NOT_STARTED,
    ]
    expect(offer(20, 100, (i) => ends[i % ends.length]!)).toBe(2_000)
    expect(throttle.share).toBe(0)
  })
})

it('names what is wrong with its options', () => {
  expect(() => THROTTLE.resolve({ multiplier: 0.5, maxShare: '100%' })).toThrow(/multiplier.*maxShare/s)
})
