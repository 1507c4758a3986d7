/** Twenty processes that share a global rate, on a fake clock: what all of them admit together. */
import { afterEach, describe, expect, it, test } from 'vitest'
import { LEASE_MS, QuotaMesh, type QuotaProcess } from '../../rigs/quota-mesh.ts'

const RATE = 1_000
const PROCESSES = 20

let mesh: QuotaMesh

afterEach(() => mesh.close())

async function start(registries: number, seed = 1, processes = PROCESSES): Promise<void> {
  mesh = new QuotaMesh(seed)
  await mesh.apply({ rate: RATE })
  for (let i = 0; i < registries; i++) await mesh.registry()
  for (let i = 0; i < processes; i++) await mesh.process(mesh.registries[i % registries], { rate: RATE })
}

/** Offers each process its rate; shorter lists repeat. */
function offer(...rates: number[]): void {
  for (const [i, process] of mesh.processes.entries()) process.demand = { checkout: rates[i % rates.length]! }
}

/** Of what should be admitted: positive if it is too much. */
async function error(ms: number): Promise<number> {
  const { admitted, offered } = await mesh.measure(ms)
  const right = Math.min(RATE, offered)
  return right === 0 ? 0 : (admitted - right) / right
}

const shares = (processes: readonly QuotaProcess[] = mesh.processes): number =>
  processes.reduce((sum, { policy }) => sum + policy.share, 0)

const MOVES = {
  'below the rate everywhere': [45],
  'twice the rate everywhere': [100],
  'all at every other process': [1_000, 0],
  'all at the other half': [0, 1_000],
  'little everywhere': [5],
  'nearly the rate at a single process': [900, ...Array(PROCESSES - 1).fill(0)],
  'nearly the rate at another': [...Array(PROCESSES - 1).fill(0), 900],
  'the same everywhere again': [50],
  'more here and less there': [20, 20, 60, 60],
  'the other way round': [60, 60, 20, 20],
  none: [0],
  'many times the rate everywhere at once': [400],
}

describe.each([1, 2, 3])('with %i registries', (registries) => {
  it.each([1, 2, 3])('all processes together admit the rate, wherever the demand is (seed %i)', async (seed) => {
    await start(registries, seed)
    for (const [move, rates] of Object.entries(MOVES)) {
      offer(...rates)
      expect(Math.abs(await error(2_000)), `within 2 s: ${move}`).toBeLessThan(0.25)
      for (let i = 0; i < 3; i++) expect(Math.abs(await error(2_000)), `steady: ${move}`).toBeLessThan(0.1)
      expect(shares(), move).toBeLessThan(RATE * 1.1)
    }
  })

  it('a process that is flooded, or lies, starves no other', async () => {
    await start(registries)
    offer(100_000, ...Array(PROCESSES - 1).fill(40))
    await mesh.run(2_000)
    for (const process of mesh.processes) process.admitted = {}
    expect(Math.abs(await error(3_000))).toBeLessThan(0.1)
    for (const process of mesh.processes.slice(1)) {
      expect(process.admitted.checkout! / 3).toBeGreaterThan(40 * 0.85)
    }
  })

  it('a process that leaves hands its share on at once', async () => {
    await start(registries)
    offer(100)
    await mesh.run(2_000)
    for (const process of mesh.processes.slice(0, 10)) await process.leave()
    expect(Math.abs(await error(2_000))).toBeLessThan(0.25)
    expect(Math.abs(await error(2_000))).toBeLessThan(0.1)
  })

  it('the share of a process that dies is given on after its lease', async () => {
    await start(registries)
    offer(100)
    await mesh.run(2_000)
    const dead = mesh.processes.slice(0, 10)
    for (const process of dead) {
      process.disconnect()
      process.demand = {}
    }
    const living = mesh.processes.slice(10)
    await mesh.run(LEASE_MS / 2)
    expect(shares(living)).toBeLessThan(RATE * 0.55)
    // The registry takes them off the list at the same time.
    await mesh.run(LEASE_MS / 2)
    for (const process of dead) await process.leave()
    expect(Math.abs(await error(2_000))).toBeLessThan(0.25)
    expect(Math.abs(await error(2_000))).toBeLessThan(0.1)
  })

  it('a hundred processes that come at once share with those that are there', async () => {
    await start(registries)
    offer(100)
    await mesh.run(2_000)
    for (let i = 0; i < 100; i++) await mesh.process(mesh.registries[i % registries], { rate: RATE })
    offer(100)
    await mesh.run(2_000)
    expect(Math.abs(await error(2_000))).toBeLessThan(0.1)
    for (const { policy } of mesh.processes) expect(policy.share).toBeGreaterThan((RATE / 120) * 0.8)
  })

  it('processes without weight or demand keep little of the rate', async () => {
    await start(registries, 1, 10)
    for (let i = 0; i < 10; i++) await mesh.process(mesh.registries[i % registries], { rate: RATE }, 0)
    offer(...Array(10).fill(200), ...Array(10).fill(0))
    await mesh.run(3_000)
    expect(Math.abs(await error(2_000))).toBeLessThan(0.1)
    for (const { policy } of mesh.processes.slice(10)) expect(policy.share).toBeGreaterThan(0)
  })

  it('without a registry each keeps its share until its lease ends, and then takes an equal one', async () => {
    await start(registries)
    offer(...Array(2).fill(450), ...Array(18).fill(0))
    await mesh.run(3_000)
    for (const registry of mesh.registries) await mesh.kill(registry)
    for (let i = 0; i < 4; i++) expect(Math.abs(await error(1_000))).toBeLessThan(0.1)
    await mesh.run(LEASE_MS)
    expect(mesh.processes[0]!.policy.isLeased).toBe(false)
    expect(mesh.processes[0]!.policy.share).toBeCloseTo(RATE / PROCESSES)
    offer(200)
    await mesh.run(2_000)
    expect(Math.abs(await error(2_000))).toBeLessThan(0.1)
  })

  it('a wall clock that jumps changes nothing', async () => {
    await start(registries)
    offer(100)
    await mesh.run(2_000)
    for (const ms of [86_400_000, -2 * 86_400_000]) {
      mesh.clock.jumpWall(ms)
      expect(Math.abs(await error(2_000))).toBeLessThan(0.1)
      for (const { policy } of mesh.processes) expect(policy.isLeased).toBe(true)
    }
  })

  it('another rate is in force at once, and another kind of limit soon', async () => {
    await start(registries)
    offer(100)
    await mesh.run(2_000)
    await mesh.apply({ rate: 400 })
    expect(shares()).toBeLessThan(400 * 1.1)
    expect((await mesh.run(2_000)) / 400).toBeLessThan(1.25)
    await mesh.apply({ rate: 300, by: ['caller'] })
    await mesh.run(2_000)
    expect((await mesh.run(2_000)) / 300).toBeLessThan(1.1)
    for (const process of mesh.processes) process.demand = { checkout: 100, audit: 5, returns: 30 }
    await mesh.run(2_000)
    for (const process of mesh.processes) process.admitted = {}
    await mesh.run(3_000)
    const admitted = (caller: string): number =>
      mesh.processes.reduce((sum, process) => sum + process.admitted[caller]!, 0) / 3
    expect(admitted('checkout') / 300).toBeCloseTo(1, 0)
    expect(admitted('returns') / 300).toBeCloseTo(1, 0)
    expect(admitted('audit')).toBeGreaterThan(85)
  })
})

test('a registry that starts anew shares out what the processes that have come back do not hold', async () => {
  await start(1)
  offer(150, 60)
  await mesh.run(3_000)
  const [former] = mesh.registries
  await mesh.kill(former!)
  const again = await mesh.registry(former!.id)
  for (const process of mesh.processes) {
    await process.connect(again)
    await mesh.run(100)
    expect(shares()).toBeLessThan(RATE * 1.2)
  }
  expect(Math.abs(await error(2_000))).toBeLessThan(0.1)
})

describe('of several registries', () => {
  it('one that is killed takes nothing with it: its processes come to another with their demand', async () => {
    await start(2)
    offer(150, 60)
    await mesh.run(3_000)
    const [first, second] = mesh.registries
    const orphans = mesh.processes.filter(({ registry }) => registry === first)
    await mesh.kill(first!)
    expect(Math.abs(await error(500))).toBeLessThan(0.1)
    for (const process of orphans) {
      await process.connect(second!)
      await mesh.run(50)
    }
    expect(Math.abs(await error(2_000))).toBeLessThan(0.1)
    expect(shares()).toBeLessThan(RATE * 1.05)
  })

  it('what the processes of one that is killed had is kept for one lease', async () => {
    await start(2)
    offer(100)
    await mesh.run(3_000)
    const [first, second] = mesh.registries
    const orphans = mesh.processes.filter(({ registry }) => registry === first)
    await mesh.kill(first!)
    const others = mesh.processes.filter(({ registry }) => registry === second)
    await mesh.run(LEASE_MS - 4_000)
    expect(shares(others)).toBeLessThan(RATE * 0.55)
    for (const process of orphans) await process.leave()
    await mesh.run(6_000)
    expect(Math.abs(await error(2_000))).toBeLessThan(0.1)
  })

  it('one that comes later learns what is asked for at the others', async () => {
    await start(1)
    offer(100)
    await mesh.run(2_000)
    const late = await mesh.registry()
    for (const process of mesh.processes.slice(0, 10)) {
      process.disconnect()
      await process.connect(late)
    }
    expect(Math.abs(await error(2_000))).toBeLessThan(0.25)
    expect(Math.abs(await error(2_000))).toBeLessThan(0.1)
    expect(shares()).toBeLessThan(RATE * 1.05)
  })

  it('one that is cut off from the store goes on with what it knows', async () => {
    await start(2)
    offer(100)
    await mesh.run(3_000)
    mesh.registries[0]!.view.cutOff()
    await mesh.registries[0]!.view.expire()
    for (let i = 0; i < 5; i++) expect(Math.abs(await error(2_000))).toBeLessThan(0.1)
    mesh.registries[0]!.view.reconnect()
    for (let i = 0; i < 5; i++) expect(Math.abs(await error(2_000))).toBeLessThan(0.1)
  })

  it('they write at most once a second, and nothing while there is no demand', async () => {
    await start(2)
    let writes = 0
    await mesh.store.watch('demand/', 0, () => {
      writes += 1
    })
    for (let second = 0; second < 10; second++) {
      offer(second % 2 === 0 ? 10 : 300)
      await mesh.run(1_000)
    }
    expect(writes).toBeGreaterThan(2)
    expect(writes).toBeLessThanOrEqual(2 * 11)
    offer(0)
    await mesh.run(6_000)
    const [written, reports] = [writes, mesh.reports]
    await mesh.run(30_000)
    expect(writes).toBe(written)
    expect(mesh.reports).toBe(reports)
    // Their leases are renewed, so that the first request finds one.
    for (const { policy } of mesh.processes) expect(policy.isLeased).toBe(true)
  })
})

describe('by caller', () => {
  it('each calling service has the rate for itself', async () => {
    mesh = new QuotaMesh()
    const global = { rate: 200, by: ['caller'] as const }
    await mesh.apply(global)
    for (let i = 0; i < 2; i++) await mesh.registry()
    for (let i = 0; i < 10; i++) await mesh.process(mesh.registries[i % 2], global)
    for (const [i, process] of mesh.processes.entries()) {
      process.demand = { checkout: 1_000, audit: i === 0 ? 150 : 0, '': 100 }
    }
    await mesh.run(3_000)
    for (const process of mesh.processes) process.admitted = {}
    await mesh.run(4_000)
    const admitted = (caller: string): number =>
      mesh.processes.reduce((sum, process) => sum + (process.admitted[caller] ?? 0), 0) / 4
    expect(Math.abs(admitted('checkout') / 200 - 1)).toBeLessThan(0.1)
    expect(Math.abs(admitted('audit') / 150 - 1)).toBeLessThan(0.1)
    expect(Math.abs(admitted('') / 200 - 1)).toBeLessThan(0.1)
  })

  it('of a thousand callers and more, the busiest hundred have leases and the memory is bounded', async () => {
    mesh = new QuotaMesh()
    const global = { rate: 100, by: ['caller'] as const }
    await mesh.apply(global)
    const registry = await mesh.registry()
    for (let i = 0; i < 4; i++) await mesh.process(registry, global)
    let most = 0
    const { tell } = registry.quotas
    registry.quotas.tell = (service, session, demand) => {
      most = Math.max(most, demand.length)
      tell.call(registry.quotas, service, session, demand)
    }
    const crowd = Object.fromEntries(Array.from({ length: 1_200 }, (_, i) => [`c${i}`, 0.5]))
    for (const process of mesh.processes) process.demand = crowd
    mesh.processes[0]!.demand = { ...crowd, busy: 95 }
    await mesh.run(3_000, 10)
    for (const process of mesh.processes) process.admitted = {}
    await mesh.run(2_000, 10)
    expect(most).toBe(100)
    expect(mesh.processes[0]!.admitted.busy! / 2).toBeGreaterThan(75)
  })
})
