import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RoundRobin } from '../../../src/client/balancing/round-robin.ts'
import { StridePicker, WeightedRoundRobin } from '../../../src/client/balancing/weighted-round-robin.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt, endpoint } from '../../resilience/conformance.ts'

const clock = new FakeClock()

function order(weights: readonly number[], picks: number, start = 0): number[] {
  const endpoints = weights.map((weight, i) => endpoint(`e${i}`, weight))
  const picker = new StridePicker(endpoints, undefined, clock, start)
  return Array.from({ length: picks }, () => endpoints.indexOf(picker.pick(callAt(clock)) as Endpoint))
}

describe('weighted round robin', () => {
  it('takes equal endpoints in turns, leaving out who is out without giving its turn to the next', () => {
    expect(order([7, 7, 7], 7)).toEqual([0, 1, 2, 0, 1, 2, 0])
    const endpoints = [0, 1, 2, 3].map((i) => endpoint(`e${i}`))
    const health = { panicking: false, ejected: 0, watch: () => undefined, due: () => undefined }
    const picker = new RoundRobin(health).picker(endpoints)
    endpoints[1]!.state = 'ejected'
    const counts = new Map<string, number>()
    for (let i = 0; i < 300; i++) {
      const { id } = picker.pick(callAt(clock))!
      counts.set(id, (counts.get(id) ?? 0) + 1)
    }
    expect([...counts.values()]).toEqual([100, 100, 100])
  })

  it('gives every endpoint its share, exactly but for one turn', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 2, maxLength: 40 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (weights, start) => {
          const picks = 4_000
          const counts = weights.map(() => 0)
          for (const at of order(weights, picks, start)) counts[at]! += 1
          const total = weights.reduce((sum, weight) => sum + weight, 0)
          for (const [i, weight] of weights.entries()) {
            // An endpoint above four mean weights has several slots, each a turn early or late.
            const slots = Math.ceil(weight / ((4 * total) / weights.length))
            expect(Math.abs(counts[i]! - (picks * weight) / total)).toBeLessThan(2 + 2 * slots)
          }
        },
      ),
      { numRuns: 60 },
    )
  })

  it('has no bursts: between two picks of an endpoint there are never much fewer others than its share says', () => {
    for (const weights of [
      [1, 2, 3, 4],
      [10, 1, 1, 1, 1],
      [100, 1, 50, 3, 100, 7],
    ]) {
      const total = weights.reduce((sum, weight) => sum + weight, 0)
      const picked = order(weights, 5_000)
      for (const [i, weight] of weights.entries()) {
        // The longest run of turns in which it has more than its share.
        for (const window of [10, 30, 100]) {
          let most = 0
          for (let from = 0; from + window <= picked.length; from++) {
            most = Math.max(most, picked.slice(from, from + window).filter((at) => at === i).length)
          }
          expect(most).toBeLessThanOrEqual(Math.ceil((window * weight) / total) + 2)
        }
      }
    }
  })

  it('costs few steps a pick and has no bursts even if one endpoint outweighs thousands', () => {
    const endpoints = Array.from({ length: 5_000 }, (_, i) => endpoint(`e${i}`, i === 0 ? 1_000 : 1))
    let looks = 0
    for (const each of endpoints) {
      Object.defineProperty(each, 'state', {
        get: () => {
          looks += 1
          return 'healthy'
        },
      })
    }
    const health = { panicking: false, ejected: 0, watch: () => undefined, due: () => undefined }
    const picker = new StridePicker(endpoints, health, clock, 0)
    const isHeavy = Array.from({ length: 6_000 }, () => picker.pick(callAt(clock)) === endpoints[0])
    const heavy = isHeavy.filter(Boolean).length
    // Its share is a sixth.
    for (let i = 0; i < 5_940; i += 60) {
      expect(isHeavy.slice(i, i + 60).filter(Boolean).length).toBeLessThanOrEqual(14)
    }
    expect(looks).toBe(6_000)
    expect(heavy).toBeGreaterThan(980)
    expect(heavy).toBeLessThan(1_020)
  })

  it('begins somewhere else in every client, and sends nothing to weight 0', () => {
    const random = new FakeClock({ seed: 4 })
    const endpoints = Array.from({ length: 50 }, (_, i) => endpoint(`e${i}`, i === 7 ? 0 : 1))
    const balancer = new WeightedRoundRobin(random, undefined)
    const firsts = new Set(Array.from({ length: 40 }, () => balancer.picker(endpoints).pick(callAt(random))!.id))
    expect(firsts.size).toBeGreaterThan(15)
    const picker = balancer.picker(endpoints)
    const picked = new Set(Array.from({ length: 200 }, () => picker.pick(callAt(random))!.id))
    expect(picked.size).toBe(49)
    expect(picked.has('e7')).toBe(false)
  })
})
