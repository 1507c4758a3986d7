/** Leases and their guard, on a clock that moves only when told to. */
import { beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { Leases } from '../../src/registry/leases.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const LEASE = 15_000
const BEAT = 5_000

let clock: FakeClock
let leases: Leases
let expired: string[]
let events: string[]
/** Who sends heartbeats. */
let alive: Set<string>

beforeEach(() => {
  clock = new FakeClock()
  expired = []
  events = []
  alive = new Set()
  leases = new Leases(LEASE, clock, {
    expired: (_, ids) => expired.push(...ids),
    frozen: (service, stopped, total) => events.push(`frozen ${service} ${stopped}/${total}`),
    released: (service, why) => events.push(`released ${service} ${why}`),
  })
})

/** Names of `n` instances that renew from now on, a little apart from one another. */
function start(n: number): string[] {
  return Array.from({ length: n }, (_, i) => {
    const id = `i${i}`
    alive.add(id)
    leases.renew('s', id)
    const renew = (): void => {
      if (alive.has(id)) leases.renew('s', id)
      clock.startTimer(BEAT, renew, undefined)
    }
    clock.startTimer((i * 37) % BEAT, renew, undefined)
    return id
  })
}

function kill(ids: readonly string[]): void {
  for (const id of ids) alive.delete(id)
}

describe('a lease', () => {
  test('lasts as long as it is renewed', () => {
    start(1)
    clock.advance(10 * 60_000)
    expect(expired).toEqual([])
  })

  test('is over when nothing was heard for its time, and not before', () => {
    leases.renew('s', 'a')
    clock.advance(LEASE - 1)
    expect(expired).toEqual([])
    clock.advance(1_100)
    expect(expired).toEqual(['a'])
    clock.advance(60_000)
    expect(expired).toEqual(['a'])
    expect(leases.size).toBe(0)
  })

  test('does not run while our own event loop stands still', () => {
    leases.renew('s', 'a')
    clock.advance(10_000)
    clock.stall(3_000)
    clock.advance(4_000)
    expect(expired).toEqual([])
    clock.advance(2_000)
    expect(expired).toEqual(['a'])
  })

  test('begins anew with grace when our own event loop stood still for longer than processes wait', () => {
    leases.renew('s', 'a')
    clock.advance(10_000)
    clock.stall(60_000)
    clock.advance(1.4 * LEASE)
    expect(expired).toEqual([])
    clock.advance(0.3 * LEASE)
    expect(expired).toEqual(['a'])
  })

  test('does not care for jumps of the wall clock', () => {
    start(1)
    clock.jumpWall(365 * 86_400_000)
    clock.advance(60_000)
    clock.jumpWall(-2 * 365 * 86_400_000)
    clock.advance(60_000)
    expect(expired).toEqual([])
  })

  test('ends at once when its instance leaves', () => {
    leases.renew('s', 'a')
    leases.end('s', 'a')
    clock.advance(60_000)
    expect(expired).toEqual([])
  })

  test('with grace begins later', () => {
    leases.renew('s', 'a', LEASE / 2)
    clock.advance(1.5 * LEASE - 10)
    expect(expired).toEqual([])
    clock.advance(1_100)
    expect(expired).toEqual(['a'])
  })
})

describe('the guard', () => {
  test('lets one of three, and two of three, expire: too few to be a failure of ours', () => {
    const ids = start(3)
    clock.advance(30_000)
    kill(ids.slice(0, 2))
    clock.advance(30_000)
    expect(expired.sort()).toEqual(['i0', 'i1'])
    expect(events).toEqual([])
  })

  test('lets 3 of 100 expire: a small share', () => {
    const ids = start(100)
    clock.advance(30_000)
    kill(ids.slice(0, 3))
    clock.advance(30_000)
    expect(expired).toHaveLength(3)
    expect(events).toEqual([])
  })

  test('freezes when many stop together, before any is lost, and tells so once', () => {
    const ids = start(10)
    clock.advance(30_000)
    kill(ids.slice(0, 4))
    clock.advance(60_000)
    expect(expired).toEqual([])
    expect(events).toEqual(['frozen s 4/10'])
    expect(leases.isFrozen('s')).toBe(true)
    expect(leases.frozenServices).toEqual(['s'])
  })

  test('counts those who go one after another within one lease together', () => {
    const ids = start(10)
    clock.advance(30_000)
    for (const id of ids.slice(0, 5)) {
      kill([id])
      clock.advance(4_000)
    }
    clock.advance(60_000)
    expect(expired.length).toBeLessThanOrEqual(2)
    expect(events[0]).toMatch(/^frozen/)
  })

  test('ends when renewals are back for two leases; who is still silent then is lost', () => {
    const ids = start(10)
    clock.advance(30_000)
    kill(ids.slice(0, 4))
    clock.advance(30_000)
    expect(leases.isFrozen('s')).toBe(true)
    for (const id of ids.slice(0, 3)) alive.add(id)
    clock.advance(2 * LEASE - 1_000)
    expect(leases.isFrozen('s')).toBe(true)
    clock.advance(BEAT + 3_000)
    expect(events.at(-1)).toBe('released s renewed')
    expect(expired).toEqual(['i3'])
  })

  test('ends after 30 min, and then the silent are lost', () => {
    const ids = start(10)
    clock.advance(30_000)
    kill(ids.slice(0, 4))
    clock.advance(31 * 60_000)
    expect(events.at(-1)).toBe('released s too-long')
    expect(expired.sort()).toEqual(['i0', 'i1', 'i2', 'i3'])
  })

  test('of one service does not protect another', () => {
    const ids = start(10)
    leases.renew('other', 'x')
    clock.advance(5_000)
    kill(ids)
    clock.advance(30_000)
    expect(expired).toEqual(['x'])
  })
})

describe('among several registries', () => {
  const shares = { listed: 100, silentElsewhere: 0 }
  let ofMany: Leases

  beforeEach(() => {
    Object.assign(shares, { listed: 100, silentElsewhere: 0 })
    const events_ = {
      expired: (_: string, ids: readonly string[]) => expired.push(...ids),
      frozen: (service: string, stopped: number, total: number) => events.push(`frozen ${service} ${stopped}/${total}`),
      released: (service: string, why: string) => events.push(`released ${service} ${why}`),
    }
    ofMany = new Leases(LEASE, clock, events_, {
      listed: () => shares.listed,
      silentElsewhere: () => shares.silentElsewhere,
    })
    for (const id of ['a', 'b', 'c', 'd']) ofMany.renew('s', id)
  })

  test('a few of the whole service expire, though they are all that this registry holds', () => {
    clock.advance(2 * LEASE)
    expect(expired).toHaveLength(4)
    expect(events).toEqual([])
  })

  test('a few here freeze when many are silent elsewhere', () => {
    shares.silentElsewhere = 12
    clock.advance(2 * LEASE)
    expect(expired).toEqual([])
    expect(events).toEqual(['frozen s 16/100'])
  })

  test('losses elsewhere count within one lease', () => {
    clock.advance(LEASE - 2_000)
    for (let i = 0; i < 16; i++) ofMany.lostElsewhere('s')
    clock.advance(4_000)
    expect(expired).toEqual([])
    expect(events).toEqual(['frozen s 20/116'])
  })

  test('a freeze of another registry holds here, and ends with it', () => {
    ofMany.freeze('s')
    clock.advance(1.9 * LEASE)
    expect(expired).toEqual([])
    ofMany.thaw('s')
    expect(expired).toHaveLength(4)
    expect(events).toEqual([])
  })

  test('nothing expires while the leases are suspended, and for one lease after', () => {
    ofMany.suspend()
    clock.advance(10 * LEASE)
    ofMany.thaw('s')
    ofMany.resume()
    clock.advance(LEASE - 1_000)
    expect(expired).toEqual([])
    clock.advance(3_000)
    expect(expired).toHaveLength(4)
  })
})

test('nothing is left behind after closing', () => {
  const before = clock.timers
  leases.close()
  expect(clock.timers).toBe(before - 1)
})

test('a real stall of our own event loop, longer than a lease, expires nobody who renews before and after it', async () => {
  const lost: string[] = []
  const real = new Leases(600, systemClock, { expired: (_, ids) => lost.push(...ids), frozen() {}, released() {} })
  // Heartbeats come from sockets, which are read after the timers that are due.
  const beat = setInterval(() => {
    setImmediate(() => {
      real.renew('s', 'a')
      real.renew('s', 'b')
    })
  }, 100)
  try {
    await new Promise((resolve) => setTimeout(resolve, 300))
    const until = performance.now() + 2_500
    while (performance.now() < until) {
      // Standing still is the point.
    }
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(lost).toEqual([])
    expect(real.size).toBe(2)
  } finally {
    clearInterval(beat)
    real.close()
  }
})
