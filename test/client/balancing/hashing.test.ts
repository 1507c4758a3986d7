import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hashText } from '../../../src/client/balancing/hash.ts'
import type { HashBalancer } from '../../../src/client/balancing/hash-picker.ts'
import { MaglevTable, maglev } from '../../../src/client/balancing/maglev.ts'
import type { PlaceTable } from '../../../src/client/balancing/place-table.ts'
import { Ring, ringHash } from '../../../src/client/balancing/ring-hash.ts'
import { Attempt } from '../../../src/core/attempt.ts'
import type { Call } from '../../../src/core/call.ts'
import { Endpoint } from '../../../src/core/endpoint.ts'
import { SUCCESS } from '../../../src/core/outcome.ts'
import type { Picker } from '../../../src/core/picker.ts'
import { EjectionPolicy } from '../../../src/resilience/ejection.ts'
import { EJECTION } from '../../../src/resilience/ejection-settings.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt, endpoint, keepsItsPromises } from '../../resilience/conformance.ts'

const KINDS = [
  { name: 'ring-hash', make: ringHash, table: (of: readonly Endpoint[]): PlaceTable => new Ring(of) },
  { name: 'maglev', make: maglev, table: (of: readonly Endpoint[]): PlaceTable => new MaglevTable(of) },
] as const

function endpointsOf(ids: readonly string[], weight = 100): Endpoint[] {
  return ids.toSorted().map((id) => endpoint(id, weight))
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `inventory-${i}`)
}

function keyed(clock: FakeClock, key: string): Call {
  const call = callAt(clock)
  call.hashKey = key
  return call
}

/** Evenly over all hashes, as keys are. */
function sample<T>(count: number, of: (hash: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => of(Math.floor(((i + 0.5) / count) * 2 ** 32)))
}

function setUp(make: (typeof KINDS)[number]['make'], endpoints: readonly Endpoint[]) {
  const clock = new FakeClock({ seed: 11 })
  const ejection = new EjectionPolicy(EJECTION.resolve(), clock)
  const balancer = make(clock, ejection)
  const picker = balancer.picker(endpoints)
  clock.advance(1_000)
  return { clock, balancer, picker }
}

/** Begins an attempt as the execution does. */
function begin(picker: Picker, balancer: HashBalancer, call: Call): Attempt {
  const attempt = new Attempt(call)
  attempt.endpoint = picker.pick(call)
  balancer.admit()
  attempt.endpoint!.pending += 1
  return attempt
}

function end(balancer: HashBalancer, attempt: Attempt): void {
  balancer.settle(attempt, SUCCESS)
  attempt.endpoint!.pending -= 1
}

describe('the hash of a text', () => {
  it.each([
    ['', 0, 0],
    ['', 1, 0x514e28b7],
    ['test', 0, 0xba6bd213],
    ['aaaa', 0x9747b28c, 0x5a97808a],
    ['aa', 0x9747b28c, 0x5d211726],
    ['abcd', 0x9747b28c, 0xf0478627],
  ])('is MurmurHash3 of its code units: %j with seed %i', (bytes, seed, hash) => {
    // Two bytes of the published vectors make one code unit.
    const units = (bytes.match(/../g) ?? []).map((pair) => pair.charCodeAt(0) | (pair.charCodeAt(1) << 8))
    expect(hashText(String.fromCharCode(...units), seed)).toBe(hash)
  })

  it('spreads texts that differ in one place only', () => {
    const buckets = new Uint32Array(64)
    for (let i = 0; i < 64_000; i++) buckets[hashText(`user-${i}`, 7) >>> 26]! += 1
    // Four standard deviations of a binomial distribution.
    for (const count of buckets) expect(Math.abs(count - 1_000)).toBeLessThan(4 * Math.sqrt(1_000))
  })
})

describe.each(KINDS)('$name', ({ name, make, table }) => {
  it('sends a key to the same endpoint from every client, in whatever order it learned of the endpoints', () => {
    const ids = numbered(20)
    const one = setUp(make, endpointsOf(ids))
    const other = setUp(make, endpointsOf(ids).reverse())
    const used = new Set<string>()
    for (let i = 0; i < 500; i++) {
      const at = one.picker.pick(keyed(one.clock, `user-${i}`))!
      expect(other.picker.pick(keyed(other.clock, `user-${i}`))!.id).toBe(at.id)
      used.add(at.id)
    }
    expect(used.size).toBe(20)
  })

  it('goes by the hash key of an endpoint, else by its address, so a restart moves no key', () => {
    const at = (id: string, port: number, metadata: Record<string, string> = {}): Endpoint =>
      new Endpoint('inventory', { ...endpoint(id), id, port, metadata })
    const owners = (endpoints: readonly Endpoint[]): number[] => {
      const { picker, clock } = setUp(make, endpoints)
      return sample(200, (hash) => picker.pick(keyed(clock, `key-${hash}`))!.port)
    }
    const before = owners([at('a', 1), at('b', 2), at('c', 3)])
    expect(owners([at('restarted', 1), at('b', 2), at('c', 3)])).toEqual(before)
    const named = owners([at('a', 1, { 'hash-key': 'x' }), at('b', 2, { 'hash-key': 'y' })])
    // Moved to another address, with the same key.
    expect(owners([at('a', 9, { 'hash-key': 'x' }), at('b', 2, { 'hash-key': 'y' })])).toEqual(
      named.map((port) => (port === 1 ? 9 : port)),
    )
  })

  it('sends calls without a key anywhere', () => {
    const { clock, picker } = setUp(make, endpointsOf(numbered(5)))
    expect(new Set(Array.from({ length: 200 }, () => picker.pick(callAt(clock)))).size).toBe(5)
  })

  it('gives each endpoint the keys that its weight entitles it to', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 20, max: 400 }), { minLength: 2, maxLength: 30 }), (weights) => {
        const endpoints = weights.map((weight, i) => endpoint(`e${String(i).padStart(2, '0')}`, weight))
        const built = table(endpoints)
        const counts = new Float64Array(endpoints.length)
        for (const owner of sample(20_000, (hash) => built.owner(built.first(hash)))) counts[owner]! += 1 / 20_000
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        for (const [i, weight] of weights.entries()) {
          const share = weight / total
          // Four standard deviations of a binomial distribution over the places, and over the keys
          // of the sample.
          const tolerance = 4 * Math.sqrt(share / built.size) + 4 * Math.sqrt(share / 20_000)
          expect(Math.abs(counts[i]! - share), name).toBeLessThan(tolerance)
        }
      }),
      { numRuns: 60 },
    )
  })

  it('moves no keys but those of the endpoint that comes, goes or changes its weight', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 2, maxLength: 250 }),
        fc.nat(),
        fc.integer({ min: 0, max: 1_000 }),
        fc.integer({ min: 0, max: 1e6 }),
        (weights, nth, becomes, salt) => {
          const at = nth % weights.length
          const ids = weights.map((_, i) => `${salt}-${String(i).padStart(3, '0')}`)
          const before = weights.map((weight, i) => endpoint(ids[i]!, weight))
          const after = before.flatMap((each, i) =>
            i !== at ? [each] : becomes === 0 ? [] : [endpoint(ids[i]!, becomes)],
          )
          const [one, other] = [table(before), table(after)]
          let itsOwn = 0
          sample(10_000, (hash) => {
            const from = before[one.owner(one.first(hash))]!.id
            const to = after[other.owner(other.first(hash))]!.id
            if (from === to) return
            expect(becomes === 0 ? from : becomes > weights[at]! ? to : from).toBe(ids[at])
            itsOwn += 1
          })
          const total = weights.reduce((sum, weight) => sum + weight, 0)
          const largest = Math.max(weights[at]!, becomes) / (total - weights[at]! + Math.max(weights[at]!, becomes))
          expect(itsOwn / 10_000).toBeLessThan(largest + 4 * Math.sqrt(largest / 10_000) + 0.003)
        },
      ),
      { numRuns: 40 },
    )
  })

  it('moves a few keys only with each endpoint by which a large service grows, also into a larger table', () => {
    const largest = name === 'maglev' ? 8_300 : 2_100
    const ids = numbered(largest)
    let before: string[] | undefined
    let endpointsBefore = 0
    for (const count of [largest / 2 - 60, largest / 2 - 20, largest / 2, largest / 2 + 40, largest - 60, largest]) {
      const endpoints = endpointsOf(ids.slice(0, count))
      const built = table(endpoints)
      const now = sample(10_000, (hash) => endpoints[built.owner(built.first(hash))]!.id)
      if (before !== undefined && count - endpointsBefore <= 60) {
        const moved = now.filter((id, i) => id !== before![i]).length / 10_000
        // Each moves its own share, and as much into the larger table.
        expect(moved).toBeLessThan((3 * (count - endpointsBefore)) / count + 0.01)
      }
      before = now
      endpointsBefore = count
    }
  })

  it('gives keys to each of several endpoints with the same hash key, and moves only those of the one that leaves', () => {
    const at = (port: number, key: string): Endpoint =>
      new Endpoint('inventory', { ...endpoint('e'), id: `e${port}`, port, metadata: { 'hash-key': key } })
    const endpoints = [at(1, 'x'), at(2, 'x'), at(3, 'x'), at(4, 'y')]
    const owners = (of: readonly Endpoint[]): number[] => {
      const { picker, clock } = setUp(make, of)
      return sample(1_000, (hash) => picker.pick(keyed(clock, `key-${hash}`))!.port)
    }
    const before = owners(endpoints)
    for (const port of [1, 2, 3, 4]) expect(before.filter((each) => each === port).length).toBeGreaterThan(150)
    const after = owners(endpoints.filter(({ port }) => port !== 2))
    for (const [i, port] of before.entries()) if (port !== 2) expect(after[i]).toBe(port)
  })

  it('never gives an endpoint more than 1.25 times its share of what is in flight, however popular a key is', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 40 }),
        fc.array(fc.record({ key: fc.integer({ min: 0, max: 3 }), ends: fc.boolean() }), { maxLength: 300 }),
        (count, steps) => {
          const { clock, balancer, picker } = setUp(make, endpointsOf(numbered(count)))
          const running: Attempt[] = []
          for (const { key, ends } of steps) {
            if (ends && running.length > 0) end(balancer, running.shift()!)
            else {
              const attempt = begin(picker, balancer, keyed(clock, `user-${key}`))
              running.push(attempt)
              expect(attempt.endpoint!.pending).toBeLessThanOrEqual(Math.ceil((1.25 * running.length) / count))
            }
          }
          for (const attempt of running) end(balancer, attempt)
          expect(balancer.inFlight).toBe(0)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('sends the keys of an ejected endpoint to several others, and back when it is healthy', () => {
    const endpoints = endpointsOf(numbered(10))
    const { clock, picker } = setUp(make, endpoints)
    const keys = Array.from({ length: 2_000 }, (_, i) => `user-${i}`)
    const home = new Map(keys.map((key) => [key, picker.pick(keyed(clock, key))!]))
    const out = endpoints[3]!
    out.state = 'ejected'
    const heirs = new Set<Endpoint>()
    for (const key of keys) {
      const at = picker.pick(keyed(clock, key))!
      if (home.get(key) === out) heirs.add(at)
      else expect(at).toBe(home.get(key))
    }
    expect(heirs.has(out)).toBe(false)
    expect(heirs.size).toBeGreaterThan(5)
    out.state = 'healthy'
    for (const key of keys) expect(picker.pick(keyed(clock, key))).toBe(home.get(key))
  })

  it('tries another endpoint for a key whose own has failed in this call, the same for all', () => {
    const endpoints = endpointsOf(numbered(10))
    const { clock, picker } = setUp(make, endpoints)
    const call = keyed(clock, 'user-1')
    const first = picker.pick(call)!
    call.tried = [first]
    const second = picker.pick(call)!
    expect(second).not.toBe(first)
    expect(picker.pick(call)).toBe(second)
  })

  it('hands a new endpoint its keys one after the other while it warms up, and none of them twice', () => {
    const endpoints = endpointsOf(numbered(10))
    const fresh = endpoints[4]!
    const { clock, balancer } = setUp(make, endpoints)
    const keys = Array.from({ length: 10_000 }, (_, i) => `user-${i}`)
    const settled = balancer.picker(endpoints)
    const final = keys.filter((key) => settled.pick(keyed(clock, key)) === fresh)
    fresh.discoveredAt = clock.now()
    fresh.warmAt = clock.now() + 10_000
    const picker = balancer.picker(endpoints)
    const shares: number[] = []
    let had = new Set<string>()
    for (let s = 0; s <= 10; s++) {
      const has = new Set(keys.filter((key) => picker.pick(keyed(clock, key)) === fresh))
      for (const key of had) expect(has.has(key)).toBe(true)
      shares.push(has.size / final.length)
      had = has
      clock.advance(1_000)
    }
    expect(shares[0]).toBeCloseTo(0.1, 1)
    expect(shares[5]).toBeCloseTo(0.5, 1)
    expect(had.size).toBe(final.length)
  })

  it('spreads the keys that several new endpoints do not take yet over all, by their warmth', () => {
    const endpoints = endpointsOf(numbered(20))
    const { clock, balancer } = setUp(make, endpoints)
    for (const fresh of endpoints.slice(1)) {
      fresh.discoveredAt = clock.now()
      fresh.warmAt = clock.now() + 10_000
    }
    const picker = balancer.picker(endpoints)
    const picks = Array.from({ length: 5_000 }, (_, i) => picker.pick(keyed(clock, `user-${i}`))!)
    const warm = picks.filter((one) => one === endpoints[0]).length / picks.length
    // Its share is 1 of 1 + 19 x 0.1.
    expect(warm).toBeGreaterThan(0.2)
    expect(warm).toBeLessThan(0.5)
    for (const fresh of endpoints.slice(1)) expect(picks).toContain(fresh)
  })

  it('leaves each key where it is when all endpoints are new', () => {
    const endpoints = endpointsOf(numbered(10))
    const { clock, balancer } = setUp(make, endpoints)
    const settled = balancer.picker(endpoints)
    const keys = Array.from({ length: 500 }, (_, i) => `user-${i}`)
    const home = keys.map((key) => settled.pick(keyed(clock, key)))
    for (const fresh of endpoints) {
      fresh.discoveredAt = clock.now()
      fresh.warmAt = clock.now() + 10_000
    }
    const picker = balancer.picker(endpoints)
    for (let s = 0; s <= 10; s++) {
      expect(keys.map((key) => picker.pick(keyed(clock, key)))).toEqual(home)
      clock.advance(1_000)
    }
  })

  it('sends the keys of an ejected endpoint to all others alike, though it owned nearly all of them', () => {
    const endpoints = ['heavy', ...numbered(8)].map((id) => endpoint(id, id === 'heavy' ? 1_000 : 1))
    const { clock, picker } = setUp(make, endpoints)
    const keys = Array.from({ length: 400 }, (_, i) => `user-${i}`)
    const heavy = endpoints[0]!
    heavy.state = 'ejected'
    const picks = keys.map((key) => picker.pick(keyed(clock, key)))
    const counts = endpoints.map((one) => picks.filter((picked) => picked === one).length)
    expect(counts[0]).toBe(0)
    expect(Math.min(...counts.slice(1))).toBeGreaterThan(20)
    expect(Math.max(...counts)).toBeLessThan(100)
  })

  it('counts what is in flight until it ends', () => {
    const { clock, balancer, picker } = setUp(make, endpointsOf(numbered(3)))
    const attempts = Array.from({ length: 5 }, () => begin(picker, balancer, callAt(clock)))
    expect(balancer.inFlight).toBe(5)
    for (const attempt of attempts) end(balancer, attempt)
    expect(balancer.inFlight).toBe(0)
  })

  keepsItsPromises(name, 'endpoint', (clock) => {
    const policy = make(clock, undefined)
    return { policy, held: () => policy.inFlight }
  })
})

describe.each(KINDS)('the table of $name', ({ name, table }) => {
  it('leads a key through every endpoint', () => {
    for (const count of [30, 1_500]) {
      const built = table(endpointsOf(numbered(count)))
      for (const hash of [0, 0xdeadbeef, 0xffffffff, 0x80000000]) {
        const met = new Set<number>()
        let place = built.first(hash)
        for (let i = 0; i < 600 * count && met.size < count; i++) {
          met.add(built.owner(place))
          place = built.next(place, hash)
        }
        expect(met.size, name).toBe(count)
      }
    }
  })

  it('stays small and whole for ten thousand endpoints', () => {
    const endpoints = endpointsOf(numbered(10_000))
    const built = table(endpoints)
    expect(built.size).toBeLessThanOrEqual(2 ** 19)
    const counts = new Uint32Array(10_000)
    for (let place = 0; place < built.size; place++) counts[built.owner(place)]! += 1
    expect(Math.min(...counts)).toBeGreaterThan(0)
  })

  it('takes weights a thousand times as large as others', () => {
    const endpoints = [endpoint('a', 1_000), endpoint('b', 1), ...endpointsOf(numbered(8), 1_000)]
    const built = table(endpoints)
    const owned = sample(100_000, (hash) => built.owner(built.first(hash)))
    const light = owned.filter((at) => at === 1).length
    expect(light).toBeLessThan(40)
    expect(light).toBeGreaterThan(0)
  })
})
