import { describe, expect, it } from 'vitest'
import { Attempt } from '../../../src/core/attempt.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import { outcome, SUCCESS } from '../../../src/core/outcome.ts'
import { callAt, FAILURE } from '../../resilience/conformance.ts'
import { introduce, setUp } from './answering.ts'

/** All of ten endpoints have just answered in 20 ms. */
function wellKnown() {
  const subject = setUp(10)
  const { endpoints, answer, pick, clock } = subject
  subject.acquaint(20)
  introduce(endpoints, pick)
  const refresh = (): void => {
    for (const each of endpoints) answer(each, 20)
  }
  refresh()
  /** Its part of picks while all answer, this one more quickly than the others. */
  const shareOf = (at: Endpoint): number => {
    refresh()
    for (let i = 0; i < 20; i++) {
      clock.advance(5)
      answer(at, 10)
    }
    return subject.shares(1_000)[endpoints.indexOf(at)]!
  }
  /** An attempt that began `ms` ago fails. */
  const fail = (at: Endpoint, ms = 1): void => {
    refresh()
    answer(at, ms, FAILURE)
  }
  return { ...subject, refresh, shareOf, fail }
}

describe('least-load: doubts', () => {
  it('counts what is known as half as good after a second without an answer', () => {
    const { endpoints, clock, answer, shares } = setUp(9)
    const fresh = endpoints[8]!
    for (const old of endpoints.slice(0, 8)) answer(old, 20)
    introduce(endpoints, () => endpoints[shares(1).indexOf(1)]!)
    clock.advance(900)
    answer(fresh, 22)
    expect(shares(500)[8]).toBe(0)
    clock.advance(101)
    expect(shares(500)[8]).toBeGreaterThan(0.9)
    fresh.pending = 1
    expect(shares(500)[8]).toBe(0)
  })

  it('does not doubt the silence of as few endpoints as it can remember', () => {
    const { endpoints, clock, answer, shares } = setUp(8)
    for (const each of endpoints) answer(each, 20)
    clock.advance(1_001)
    answer(endpoints[7]!, 22)
    expect(shares(500)[7]).toBe(0)
  })

  it('doubts an endpoint for 2 s after a failure, however well it answers', () => {
    const { endpoints, clock, shareOf, fail } = wellKnown()
    const [ill] = endpoints as [Endpoint]
    expect(shareOf(ill)).toBeGreaterThan(0.9)
    fail(ill)
    expect(shareOf(ill)).toBe(0)
    clock.advance(1_700)
    expect(shareOf(ill)).toBe(0)
    clock.advance(200)
    expect(shareOf(ill)).toBeGreaterThan(0.9)
  })

  it('doubts it for 8 s and then 10 s when it fails again', () => {
    const { endpoints, clock, shareOf, fail } = wellKnown()
    const [ill] = endpoints as [Endpoint]
    fail(ill)
    for (const ms of [8_000, 10_000, 10_000]) {
      clock.advance(2_500)
      fail(ill)
      clock.advance(ms - 200)
      expect(shareOf(ill)).toBe(0)
      clock.advance(200)
      expect(shareOf(ill)).toBeGreaterThan(0.9)
    }
  })

  it('takes a failure long after the last one for the first', () => {
    const { endpoints, clock, shareOf, fail } = wellKnown()
    const [ill] = endpoints as [Endpoint]
    fail(ill)
    clock.advance(7_100)
    fail(ill)
    clock.advance(2_100)
    expect(shareOf(ill)).toBeGreaterThan(0.9)
  })

  it('takes what fails together for one failure', () => {
    const { endpoints, clock, shareOf, fail } = wellKnown()
    const [ill] = endpoints as [Endpoint]
    for (let i = 0; i < 20; i++) {
      fail(ill, 100)
      clock.advance(1)
    }
    clock.advance(2_000)
    expect(shareOf(ill)).toBeGreaterThan(0.9)
  })

  it.each([
    ['an overload', outcome('failure', 'overloaded', undefined, 503)],
    ['what was cancelled', outcome('cancelled', 'cancelled')],
    ['a denial', outcome('refused', 'permission-denied')],
  ])('has no doubt after %s', (_, end) => {
    const { endpoints, clock, answer, shareOf } = wellKnown()
    const [well] = endpoints as [Endpoint]
    answer(well, 1, end)
    clock.advance(100)
    for (let i = 0; i < 20; i++) {
      clock.advance(50)
      answer(well, 10)
    }
    expect(shareOf(well)).toBeGreaterThan(0.9)
  })

  it('has no doubt after a failed stream that may last for any time', () => {
    const { balancer, endpoints, clock, shareOf } = wellKnown()
    const [well] = endpoints as [Endpoint]
    const stream = new Attempt(callAt(clock))
    stream.endpoint = well
    stream.startedAt = clock.now() - 1
    stream.openEnded = true
    balancer.settle(stream, FAILURE)
    expect(shareOf(well)).toBeGreaterThan(0.9)
  })

  it('spreads the calls as ever where all have failed', () => {
    const { endpoints, clock, shares, fail } = wellKnown()
    for (const each of endpoints) fail(each)
    clock.advance(1_001)
    for (const share of shares(5_000)) expect(share).toBeLessThan(0.2)
  })

  it('asks an ill endpoint ever more rarely, and a healed one within 10 s and 800 calls', () => {
    const { endpoints, clock, answer, send } = setUp(10)
    const [ill] = endpoints as [Endpoint]
    const asked: number[] = []
    const healsAt = clock.now() + 60_000
    let back = 0
    while (back === 0) {
      clock.advance(50)
      const at = send()
      const isWell = at !== ill || clock.now() >= healsAt
      answer(at, isWell ? 10 : 1, isWell ? SUCCESS : FAILURE)
      if (at === ill && isWell) back = clock.now()
      else if (at === ill) asked.push(clock.now())
    }
    expect(asked.length).toBeGreaterThan(3)
    expect(asked.length).toBeLessThan(10)
    expect(back - asked.at(-1)!).toBeLessThan(10_000 + 800 * 50)
  })
})
