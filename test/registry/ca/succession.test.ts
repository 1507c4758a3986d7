/** The succession of signing keys: its steps, and what holds whatever happens in between. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AWAY_LEASES, isAcknowledged, type ProgressRecord } from '../../../src/registry/ca/progress.ts'
import { StageWait } from '../../../src/registry/ca/stage-wait.ts'
import {
  advance,
  begin,
  cancel,
  type Facts,
  lifeWithMargin,
  replaceEnded,
  type Succession,
  steady,
  trustedOf,
  whyNot,
} from '../../../src/registry/ca/succession.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

const LIFE_MS = 20_000
const at = { sequence: 2, wallNow: 1_000 }
const facts: Facts = {
  waitedMs: 0,
  acknowledged: false,
  held: true,
  forced: false,
  leastMs: 0,
  lifeMs: LIFE_MS,
  cutOffMs: 0,
}
const first = steady('a', { sequence: 1, wallNow: 0, lifeMs: LIFE_MS })
const published = begin(first, 'b', at)!

describe('a succession', () => {
  test('publishes the next, uses it once everybody trusts it, and withdraws the former after its last life', () => {
    expect(published).toMatchObject({ stage: 'publish', active: 'a', next: 'b', sequence: 2 })
    expect(trustedOf(published)).toEqual(['a', 'b'])
    expect(whyNot(published, facts)).toBe('acknowledgements')
    const used = advance(published, { ...facts, acknowledged: true }, { sequence: 3, wallNow: 2_000 })!
    expect(used).toMatchObject({ stage: 'use', active: 'b', former: 'a', formerLifeMs: LIFE_MS })
    expect(trustedOf(used)).toEqual(['b', 'a'])
    const over = lifeWithMargin(LIFE_MS, 0)
    expect(whyNot(used, { ...facts, waitedMs: over - 1 })).toBe('ends-of-life')
    const after = advance(used, { ...facts, waitedMs: over }, { sequence: 4, wallNow: 3_000 })!
    expect(after).toEqual(steady('b', { sequence: 4, wallNow: 3_000, lifeMs: LIFE_MS }))
  })

  test('goes on without acknowledgements when everything that the active one signed has ended', () => {
    const over = lifeWithMargin(LIFE_MS, 0)
    expect(whyNot(published, { ...facts, waitedMs: over - 1 })).toBe('acknowledgements')
    expect(whyNot(published, { ...facts, waitedMs: over })).toBeUndefined()
    // Older processes renew, too, and do not understand what they get.
    const patient = begin(first, 'b', { ...at, patient: true })!
    expect(whyNot(patient, { ...facts, waitedMs: 100 * over })).toBe('acknowledgements')
  })

  test('waits for a registry without the key, whatever an operator says', () => {
    expect(whyNot(published, { ...facts, acknowledged: true, held: false })).toBe('keys')
    expect(whyNot(published, { ...facts, forced: true, held: false })).toBe('keys')
    expect(whyNot(published, { ...facts, forced: true })).toBeUndefined()
  })

  test('publishes for the least time', () => {
    const least = { ...facts, acknowledged: true, leastMs: 35_000 }
    expect(whyNot(published, { ...least, waitedMs: 34_999 })).toBe('least-time')
    expect(whyNot(published, { ...least, waitedMs: 35_000 })).toBeUndefined()
  })

  test('is cancelled only while the next one signs nothing, and only one is under way', () => {
    expect(cancel(published, at)).toMatchObject({ stage: 'steady', active: 'a' })
    expect(cancel(first, at)).toBeUndefined()
    expect(begin(published, 'c', at)).toBeUndefined()
    const ended = replaceEnded(first, 'b', at)
    expect(ended).toMatchObject({ stage: 'use', active: 'b', former: 'a' })
    expect(cancel(ended, at)).toBeUndefined()
  })
})

describe('the time of a stage', () => {
  test('goes on neither by a leap of the wall clock alone nor by the monotonic clock alone', () => {
    const clock = new FakeClock()
    const wait = new StageWait(clock, { since: clock.wallNow(), waitedMs: 0 })
    clock.advance(1_000)
    expect(wait.waitedMs).toBe(1_000)
    clock.jumpWall(86_400_000)
    expect(wait.waitedMs).toBe(1_000)
    clock.jumpWall(-86_400_000 - 500)
    expect(wait.waitedMs).toBe(500)
  })

  test('is noted for the next leader, without the time between the two', () => {
    const clock = new FakeClock()
    const wait = new StageWait(clock, { since: clock.wallNow(), waitedMs: 0 })
    clock.advance(1_000)
    const { note } = wait
    clock.advance(3_600_000)
    const next = new StageWait(clock, note)
    expect(next.waitedMs).toBe(1_000)
    clock.advance(500)
    expect(next.note).toEqual({ ...note, waitedMs: 1_500 })
  })

  test('begins anew if the clock that began it was ahead', () => {
    const clock = new FakeClock()
    const wait = new StageWait(clock, { since: clock.wallNow() + 3_600_000, waitedMs: 5_000 })
    clock.advance(1_000)
    expect(wait.waitedMs).toBe(0)
    expect(wait.note).toEqual({ since: clock.wallNow(), waitedMs: 0 })
  })
})

/*
 * A mesh of registries on one store, with processes that join, renew, move, fall silent and come
 * back. Each registry may die, or be cut off from the store and go on with what it knew.
 */

const LEASE_MS = 2_000
const CUT_OFF_MS = LIFE_MS
/** The store takes a registry that it does not hear for dead. */
const STORE_LEASE_MS = 3_000

interface Leaf {
  readonly by: string
  /** Wall clock. */
  readonly endsAt: number
  readonly renewAt: number
}

interface Node {
  trusts: readonly string[]
  sequence: number
  leaf: Leaf
  at: RegistryModel | undefined
  /** Without a registry: when it comes back, by the monotonic clock. */
  backAt: number
  /** Together with its registry: it hears of no other process, and none of it. */
  isCutOff: boolean
}

interface RegistryModel {
  readonly id: number
  known: Succession
  heardAt: number
  cut: boolean
  alive: boolean
  startedAt: number
  /** Lost sessions: monotonic, with the bundle that the process had. */
  readonly away: { sequence: number; until: number }[]
}

class Model {
  readonly clock = new FakeClock()
  readonly registries: RegistryModel[] = []
  readonly nodes: Node[] = []
  stored = steady('k0', { sequence: 1, wallNow: this.clock.wallNow(), lifeMs: LIFE_MS })
  leader: { of: RegistryModel; wait: StageWait; unsettledUntil: number } | undefined
  #keys = 0
  /** So that wall clocks put back never show a time before the stage, which begins it anew. */
  #ahead = 0

  constructor(registries: number, nodes: number) {
    for (let id = 0; id < registries; id++) this.registries.push(this.#registry(id, -60_000))
    for (let i = 0; i < nodes; i++) this.join(i)
  }

  #registry(id: number, startedAt: number): RegistryModel {
    const base = { id, known: this.stored, heardAt: this.clock.now(), cut: false, alive: true, startedAt }
    return { ...base, away: [] }
  }

  #sign(registry: RegistryModel): Leaf {
    const { active, lifeMs } = registry.known
    const wallNow = this.clock.wallNow()
    const contact = wallNow - (this.clock.now() - registry.heardAt)
    const endsAt = Math.min(wallNow + lifeMs, contact + lifeMs + CUT_OFF_MS)
    for (const node of this.nodes) {
      if (registry.cut || node.isCutOff || node.trusts.length === 0) continue
      if (!node.trusts.includes(active)) throw new Error(`${active} is unknown to a live process`)
    }
    return { by: active, endsAt, renewAt: wallNow + lifeMs * 0.7 }
  }

  #take(node: Node, registry: RegistryModel): void {
    if (!registry.cut) node.isCutOff = false
    if (registry.known.sequence < node.sequence) return
    node.sequence = registry.known.sequence
    node.trusts = trustedOf(registry.known)
  }

  join(index: number): void {
    const registry = this.registries.find(({ alive, cut }) => alive && !cut)
    if (registry === undefined || this.nodes[index] !== undefined) return
    const leaf = this.#sign(registry)
    const node: Node = { trusts: [], sequence: 0, leaf, at: registry, backAt: 0, isCutOff: false }
    this.#take(node, registry)
    this.nodes[index] = node
  }

  lose(index: number): void {
    const node = this.nodes[index]
    if (node?.at === undefined) return
    node.at.away.push({ sequence: node.sequence, until: this.clock.now() + AWAY_LEASES * LEASE_MS })
    this.#part(node)
  }

  #part(node: Node): void {
    node.at = undefined
    node.backAt = this.clock.now() + this.clock.random() * LEASE_MS
  }

  kill(index: number): void {
    const registry = this.registries[index]!
    if (!registry.alive) return
    registry.alive = false
    for (const node of this.nodes) if (node.at === registry) this.#part(node)
    if (this.leader?.of === registry) this.leader = undefined
  }

  restart(index: number): void {
    if (this.registries[index]!.alive) return
    this.registries[index] = this.#registry(index, this.clock.now())
  }

  cut(index: number, cut: boolean): void {
    const registry = this.registries[index]!
    if (cut && this.leader?.of === registry) this.leader = undefined
    registry.cut = cut
    // Some of its processes reach the others, some are cut off with it.
    if (!cut) return
    for (const [i, node] of this.nodes.entries()) {
      if (node.at !== registry) continue
      if (i % 2 === 0) this.lose(i)
      else node.isCutOff = true
    }
  }

  renew(index: number): void {
    const node = this.nodes[index]!
    if (node.at !== undefined) node.leaf = this.#sign(node.at)
  }

  rotate(): void {
    this.#write(begin(this.stored, `k${++this.#keys}`, this.#at()))
  }

  note(): void {
    if (this.leader === undefined) return
    this.#write({ ...this.stored, ...this.leader.wait.note })
  }

  #at(): { sequence: number; wallNow: number } {
    return { sequence: this.stored.sequence + 1, wallNow: this.clock.wallNow() }
  }

  #write(next: Succession | undefined): void {
    if (next === undefined) return
    this.stored = next
    this.#ahead = 0
    if (this.leader !== undefined) this.leader.wait = new StageWait(this.clock, next)
  }

  elect(index: number): void {
    const of = this.registries[index]!
    if (this.leader !== undefined || !of.alive || of.cut) return
    const unsettledUntil = this.clock.now() + AWAY_LEASES * LEASE_MS
    this.leader = { of, wait: new StageWait(this.clock, this.stored), unsettledUntil }
  }

  #progress(): ProgressRecord[] {
    const now = this.clock.now()
    return this.#announced().map((registry) => {
      const own = this.nodes.filter(({ at }) => at === registry).map(({ sequence }) => sequence)
      const away = registry.away.filter(({ until }) => until > now).map(({ sequence }) => sequence)
      return {
        sequence: registry.known.sequence,
        least: Math.min(registry.known.sequence, ...own, ...away),
        processes: own.length + away.length,
        behind: 0,
        names: [],
        settled: now - registry.startedAt >= AWAY_LEASES * LEASE_MS,
        holds: [],
        lifeMs: LIFE_MS,
      }
    })
  }

  /** Also one that died or was cut off a moment ago. */
  #announced(): RegistryModel[] {
    return this.registries.filter(({ heardAt }) => this.clock.now() - heardAt <= STORE_LEASE_MS)
  }

  /** Messages arrive and timers fire; a process without a registry comes back within a lease. */
  pass(ms: number): void {
    // A process does not wait for its lease's end before it comes back.
    for (let left = ms; left > 0; left -= 500) this.#pass(Math.min(left, 500))
  }

  #pass(ms: number): void {
    const before = this.#announced()
    this.clock.advance(ms)
    for (const registry of this.registries) {
      if (!registry.alive || registry.cut) continue
      registry.known = this.stored
      registry.heardAt = this.clock.now()
    }
    const open = this.registries.filter(({ alive, cut }) => alive && !cut)
    for (const node of this.nodes) {
      if (node.at === undefined && this.clock.now() >= node.backAt) node.at = open[0]
      if (node.at === undefined) continue
      this.#take(node, node.at)
      if (this.clock.wallNow() >= node.leaf.endsAt || this.clock.wallNow() >= node.leaf.renewAt)
        node.leaf = this.#sign(node.at)
    }
    const gone = before.some((one) => !this.#announced().includes(one))
    if (gone && this.leader !== undefined) {
      this.leader.unsettledUntil = this.clock.now() + AWAY_LEASES * LEASE_MS
    }
    this.#look()
    this.check()
  }

  #look(): void {
    if (this.leader === undefined) return
    const settled = this.clock.now() >= this.leader.unsettledUntil
    const acknowledged = settled && isAcknowledged(this.#progress(), this.stored.sequence)
    const { waitedMs } = this.leader.wait
    const known = { ...facts, waitedMs, acknowledged, cutOffMs: CUT_OFF_MS }
    this.#write(advance(this.stored, known, this.#at()))
  }

  leap(ms: number): void {
    // Back no further than ahead: a clock put back behind the beginning starts the stage anew.
    const by = ms < 0 ? Math.max(ms, -this.#ahead) : ms
    this.#ahead += by
    this.clock.jumpWall(by)
  }

  check(): void {
    const trusted = trustedOf(this.stored)
    for (const { leaf } of this.nodes) {
      if (this.clock.wallNow() < leaf.endsAt && !trusted.includes(leaf.by))
        throw new Error(`a leaf of ${leaf.by} lives`)
    }
  }
}

const REGISTRIES = 3
const NODES = 5
const registry = fc.nat({ max: REGISTRIES - 1 })
const node = fc.nat({ max: NODES - 1 })
type Event =
  | readonly ['pass' | 'leap' | 'elect' | 'kill' | 'restart' | 'cut' | 'mend' | 'lose' | 'renew' | 'join', number]
  | readonly ['rotate' | 'note']
const of = (name: Event[0], argument: fc.Arbitrary<number>, weight = 1) => ({
  weight,
  arbitrary: argument.map((value) => [name, value] as unknown as Event),
})
const event: fc.Arbitrary<Event> = fc.oneof(
  of('pass', fc.integer({ min: 1, max: 1_000 }), 8),
  of('pass', fc.constant(12_000), 2),
  of('elect', registry, 3),
  of('rotate', fc.constant(0), 3),
  of('kill', registry),
  of('restart', registry, 2),
  of('cut', registry),
  of('mend', registry),
  of('lose', node, 3),
  of('renew', node, 5),
  of('note', fc.constant(0)),
  of('leap', fc.integer({ min: -10_000, max: 10_000 })),
)

function apply(model: Model, [name, value = 0]: Event): void {
  if (name === 'cut' || name === 'mend') model.cut(value, name === 'cut')
  else model[name](value)
}

describe('whatever dies, leads, leaps and is cut off', () => {
  test('no live process meets a certificate that it cannot verify, and no authority goes before its last leaf', () => {
    const stages = new Set<string>()
    fc.assert(
      fc.property(fc.array(event, { minLength: 20, maxLength: 120 }), (events) => {
        const model = new Model(REGISTRIES, NODES)
        for (const step of events) {
          apply(model, step)
          stages.add(model.stored.stage)
        }
      }),
      { numRuns: 500 },
    )
    expect([...stages].sort()).toEqual(['publish', 'steady', 'use'])
  })
})
