/**
 * Registries and processes that do all kinds of things in any order: a process that lives and was
 * acknowledged stays listed, and one that left or died goes.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Audit } from '../../../src/registry/access/audit.ts'
import { Fleet } from '../../../src/registry/fleet/fleet.ts'
import type { InstanceOwner } from '../../../src/registry/instance-owners.ts'
import { SILENT_LOG } from '../../../src/registry/log.ts'
import { Registrar } from '../../../src/registry/registrar.ts'
import type { Sessions } from '../../../src/registry/sessions.ts'
import { RegistryState } from '../../../src/registry/state.ts'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'
import { WatchHub } from '../../../src/registry/watch/hub.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { instance } from '../../rigs/instance.ts'
import { laggingView } from '../../rigs/lagging-view.ts'
import { StorageView } from '../../rigs/storage-view.ts'

const LEASE_MS = 3_000
const BEAT_MS = LEASE_MS / 3
const PROCESSES = 6
const who = { spiffeId: 'spiffe://inmesh.local/service/a', service: 'a', source: '127.0.0.1' }

interface Process extends InstanceOwner {
  readonly id: string
  lives: boolean
  /** As its last acknowledged request says. */
  listed: boolean
  at: Member | undefined
  /** It is off the list, and registers at its next beat. */
  registers: boolean
}

type Member = Awaited<ReturnType<typeof openMember>>

async function openMember(storage: MemoryStorage, clock: FakeClock, id: string) {
  const view = new StorageView(storage)
  const lagging = laggingView(view)
  const state = await RegistryState.load(lagging, () => {})
  const hub = new WatchHub(state, clock)
  const audit = new Audit(state, clock, SILENT_LOG, id)
  const log = SILENT_LOG
  const registrar = new Registrar({ state, hub, audit, clock, log, id }, LEASE_MS)
  const fleet = new Fleet({
    ...{ state, hub, registrar, clock, log, id },
    closing: () => false,
    credentials: () => undefined,
  })
  await fleet.begin(`https://${id}`, { size: 1, sendAway() {} } as Sessions)
  const kill = async (): Promise<void> => {
    await view.close()
    registrar.close()
    void fleet.close()
    hub.close()
    state.close()
  }
  return { id, view, lagging, state, registrar, fleet, kill }
}

class World {
  readonly clock = new FakeClock()
  readonly storage = new MemoryStorage()
  readonly members: Member[] = []
  readonly cut = new Set<Member>()
  readonly processes: Process[]
  #started = 0

  constructor() {
    this.processes = Array.from({ length: PROCESSES }, (_, i) => {
      const process: Process = {
        id: `p${i}`,
        lives: true,
        listed: false,
        at: undefined,
        registers: false,
        unlisted: () => {
          process.registers = true
        },
        disowned: () => {},
      }
      return process
    })
  }

  async start(): Promise<void> {
    if (this.members.length < 4) this.members.push(await openMember(this.storage, this.clock, `r${++this.#started}`))
  }

  async kill(member: Member): Promise<void> {
    this.members.splice(this.members.indexOf(member), 1)
    this.cut.delete(member)
    for (const process of this.processes) if (process.at === member) process.at = undefined
    await member.kill()
    if (this.members.length === 0) await this.start()
  }

  async register(process: Process, at: Member): Promise<void> {
    if (!process.lives) return
    await at.registrar.register(who, instance('a', process.id), process).then(
      () => Object.assign(process, { at, listed: true, registers: false }),
      () => undefined,
    )
  }

  async leave(process: Process): Promise<void> {
    const { at, lives } = process
    if (!lives || at === undefined || !process.listed) return
    // Also one whose request fails leaves, and its lease ends.
    Object.assign(process, { listed: false, at: undefined })
    await at.registrar.deregister(who, process.id).catch(() => undefined)
  }

  /** One beat of every process, which moves when its registry is gone or cut off. */
  async pass(): Promise<void> {
    for (const process of this.processes) {
      if (!process.lives || !process.listed) continue
      const { at } = process
      const away = at === undefined || this.cut.has(at)
      const next = this.members.find((one) => !this.cut.has(one))
      if (away && next !== undefined) await this.register(process, next)
      else if (at !== undefined) {
        at.registrar.leases.renew('a', process.id)
        if (process.registers) await this.register(process, at)
      }
    }
    for (let i = 0; i < 10; i++) {
      this.clock.advance(BEAT_MS / 10)
      await settle()
    }
  }

  async listed(): Promise<string[]> {
    const { items } = await this.storage.list('inst/')
    return items.map(({ key }) => key.split('/')[2]!).sort()
  }

  async close(): Promise<void> {
    for (const member of this.members) await member.kill()
    await this.storage.close()
  }
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
}

const step = fc.record({
  what: fc.constantFrom(
    'register',
    'register',
    'leave',
    'die',
    'kill',
    'start',
    'lag',
    'catch-up',
    'cut',
    'heal',
    'forget',
    'pass',
    'pass',
  ),
  process: fc.nat(PROCESSES - 1),
  member: fc.nat(3),
})

async function run(world: World, { what, process: p, member: m }: { what: string; process: number; member: number }) {
  const process = world.processes[p]!
  const member = world.members[m % world.members.length]!
  switch (what) {
    case 'register':
      await world.register(process, member)
      break
    case 'leave':
      await world.leave(process)
      break
    case 'die':
      process.lives = false
      break
    case 'kill':
      await world.kill(member)
      break
    case 'start':
      await world.start()
      break
    case 'lag':
      member.lagging.lag()
      break
    case 'catch-up':
      member.lagging.catchUp()
      break
    case 'cut':
      world.cut.add(member)
      member.view.cutOff()
      break
    case 'heal':
      world.cut.delete(member)
      member.view.reconnect()
      break
    case 'forget':
      await member.view.expire()
      break
    default:
      await world.pass()
  }
}

test('a process that lives and was acknowledged stays listed; one that left or died goes, and has one lease until then', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const world = new World()
      try {
        await world.start()
        await world.start()
        for (const one of steps) {
          await run(world, one)
          await settle()
          const ids = await world.listed()
          const missing = world.processes.filter(
            ({ id, lives, listed, registers }) => lives && listed && !registers && !ids.includes(id),
          )
          expect(missing.map(({ id }) => id)).toEqual([])
        }
        for (const member of world.members) {
          member.view.reconnect()
          member.lagging.catchUp()
        }
        world.cut.clear()
        for (let i = 0; i < 15; i++) await world.pass()
        const alive = world.processes.filter(({ lives, listed }) => lives && listed).map(({ id }) => id)
        const ids = await world.listed()
        const frozen = world.members[0]!.state.fleet.freezes.size > 0
        if (frozen) expect(ids).toEqual(expect.arrayContaining(alive))
        else expect(ids).toEqual(alive)
        const leases = world.members.reduce((sum, { registrar }) => sum + registrar.leases.size, 0)
        expect(leases).toBe(ids.length)
      } finally {
        await world.close()
      }
    }),
    { numRuns: 400 },
  )
}, 120_000)
