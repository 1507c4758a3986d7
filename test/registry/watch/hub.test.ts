/** The hub with watchers of paper: what is sent to whom, and how often it is encoded. */
import { beforeEach, describe, expect, test } from 'vitest'
import type { ServerMessage } from '../../../src/discovery/registry/wire.ts'
import { KEYS } from '../../../src/registry/records.ts'
import { RegistryState } from '../../../src/registry/state.ts'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'
import { WatchHub } from '../../../src/registry/watch/hub.ts'
import { ServiceHistory } from '../../../src/registry/watch/service-history.ts'
import type { Watcher } from '../../../src/registry/watch/watcher.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { instance } from '../../rigs/instance.ts'

class PaperWatcher implements Watcher {
  readonly acknowledges = true
  readonly lines: Buffer[] = []
  closedFor: string | undefined
  size = 0
  /** Keeps what was written from being flushed. */
  stuck = false
  flush: (() => void)[] = []
  backlog(): number {
    return this.size
  }

  write(line: Buffer, flushed?: () => void): void {
    this.lines.push(line)
    if (flushed === undefined) return
    if (this.stuck) this.flush.push(flushed)
    else flushed()
  }

  close(reason: string): void {
    this.closedFor = reason
  }

  // biome-ignore lint/suspicious/noExplicitAny: tests look into messages of every type
  get messages(): any[] {
    return this.lines.map((line) => JSON.parse(line.toString()) as ServerMessage)
  }

  get types(): string[] {
    return this.messages.map((message) => message.type)
  }
}

let clock: FakeClock
let state: RegistryState
let hub: WatchHub
let storage: MemoryStorage

async function begin(options: { history?: ServiceHistory } = {}): Promise<void> {
  clock = new FakeClock()
  storage = new MemoryStorage()
  state = await RegistryState.load(storage, () => {})
  hub = new WatchHub(state, clock, options.history)
}

beforeEach(() => begin())

async function put(id: string, service = 's', weight = 100): Promise<number> {
  const record = { instance: instance(service, id, { weight }), owner: 'o', registeredAt: 0 }
  return (await state.write([{ key: KEYS.instance(service, id), value: JSON.stringify(record) }])).revision
}

async function remove(id: string, why: 'left' | 'lost' = 'left'): Promise<number> {
  const record = { gone: [{ id, why }], lostAt: why === 'lost' ? clock.wallNow() : 0 }
  const { revision } = await state.write([
    { key: KEYS.instance('s', id), value: undefined },
    { key: KEYS.service('s'), value: JSON.stringify(record) },
  ])
  return revision
}

function watching(since?: { epoch: string; revision: number }): PaperWatcher {
  const watcher = new PaperWatcher()
  hub.watch(watcher, 's', since)
  return watcher
}

/**
 * Lets the event loop turn and time pass until each has that number of messages, at most a thousand
 * times.
 */
async function allTold(watchers: readonly PaperWatcher[], messages: number): Promise<void> {
  for (let i = 0; i < 1_000 && watchers.some(({ lines }) => lines.length < messages); i++) {
    await new Promise((resolve) => setImmediate(resolve))
    clock.advance(1)
  }
}

describe('the hub', () => {
  test('encodes a change once for 200 watchers, who get the same bytes', async () => {
    const watchers = Array.from({ length: 200 }, () => watching())
    expect(hub.encoded).toBe(1)
    await put('a')
    clock.advance(20)
    await allTold(watchers, 2)
    expect(hub.encoded).toBe(2)
    expect(hub.delivered).toBe(400)
    const bytes = watchers[0]!.lines[1]
    for (const watcher of watchers) expect(watcher.lines[1]).toBe(bytes)
  })

  test('tells changes within a window as one delta, of every instance only how it is in the end', async () => {
    const watcher = watching()
    await put('a')
    await put('a', 's', 7)
    await put('b')
    const revision = await remove('b')
    clock.advance(20)
    expect(watcher.messages.slice(1)).toEqual([
      {
        type: 'delta',
        service: 's',
        previous: 0,
        revision,
        put: [expect.objectContaining({ id: 'a', weight: 7 })],
        gone: [{ id: 'b', why: 'left' }],
      },
    ])
  })

  test('tells a change at once when nothing was told just before, and what follows once a window', async () => {
    const watcher = watching()
    await put('a')
    clock.advance(0)
    expect(watcher.types).toEqual(['snapshot', 'delta'])
    await put('b')
    await put('c')
    clock.advance(9)
    expect(watcher.types).toEqual(['snapshot', 'delta'])
    clock.advance(1)
    expect(watcher.messages[2].put).toHaveLength(2)
  })

  test('writes to many watchers in portions; changes in the meantime are one delta after them', async () => {
    const watchers = Array.from({ length: 250 }, () => watching())
    const reached = (): number => watchers.filter(({ lines }) => lines.length === 2).length
    await put('a')
    clock.advance(0)
    expect(reached()).toBeGreaterThan(0)
    expect(reached()).toBeLessThan(250)
    await put('b')
    await put('c')
    await allTold(watchers, 3)
    for (const watcher of watchers) expect(watcher.types).toEqual(['snapshot', 'delta', 'delta'])
    expect(hub.encoded).toBe(3)
  })

  test('tells everybody else before somebody comes or is sent a snapshot between two portions', async () => {
    const watchers = Array.from({ length: 250 }, () => watching())
    const slow = watchers[240]!
    slow.size = 2 * 1024 * 1024
    await put('a')
    clock.advance(0)
    hub.flush()
    slow.size = 0
    await put('b')
    clock.advance(20)
    expect(watchers[200]!.types).toEqual(['snapshot', 'delta'])
    hub.drained(slow)
    expect(slow.messages[1]).toMatchObject({ type: 'snapshot', revision: state.revision })
    const late = watching()
    for (const watcher of watchers) {
      expect(watcher.types).toEqual(watcher === slow ? ['snapshot', 'snapshot'] : ['snapshot', 'delta', 'delta'])
    }
    expect(late.messages).toEqual([expect.objectContaining({ type: 'snapshot', revision: state.revision })])
  })

  test('chains deltas, also for who came in the middle of a window', async () => {
    const early = watching()
    await put('a')
    const late = watching()
    await put('b')
    clock.advance(20)
    await remove('a')
    clock.advance(20)
    for (const watcher of [early, late]) {
      const [first, ...deltas] = watcher.messages
      let last = first.revision
      const ids = new Set(first.instances.map((one: { id: string }) => one.id))
      for (const delta of deltas) {
        expect(delta.previous).toBe(last)
        last = delta.revision
        for (const one of delta.put ?? []) ids.add(one.id)
        for (const one of delta.gone ?? []) ids.delete(one.id)
      }
      expect([...ids]).toEqual(['b'])
    }
  })

  test('a snapshot says of those that are gone why, so that one who leaves takes no lost one along', async () => {
    for (const id of ['a', 'b', 'c']) await put(id)
    await remove('a', 'lost')
    await remove('b')
    const gone = [
      { id: 'a', why: 'lost' },
      { id: 'b', why: 'left' },
    ]
    expect(watching().messages[0]).toMatchObject({ instances: [{ id: 'c' }], gone })
    await put('a')
    expect(watching().messages[0]).toMatchObject({ gone: [{ id: 'b', why: 'left' }] })
  })

  test('says whether an empty list is meant', async () => {
    expect(watching().messages[0]).toMatchObject({ instances: [], intended: false })
    await put('a')
    await remove('a')
    expect(watching().messages[0]).toMatchObject({ instances: [], intended: true })
    await put('b')
    await remove('b', 'lost')
    expect(watching().messages[0]).toMatchObject({ instances: [], intended: false })
  })

  test('tells only the watchers of a service', async () => {
    const watcher = watching()
    await put('a', 'other')
    clock.advance(20)
    expect(watcher.types).toEqual(['snapshot'])
  })

  test('resumes with what was missed, from any revision it still knows', async () => {
    const revisions = [await put('a'), await put('b'), await put('x', 'other'), await remove('a')]
    const { epoch } = state
    expect(watching({ epoch, revision: revisions[0]! }).messages).toEqual([
      expect.objectContaining({
        type: 'delta',
        previous: revisions[0],
        revision: revisions[3],
        put: [expect.objectContaining({ id: 'b' })],
        gone: [{ id: 'a', why: 'left' }],
      }),
    ])
    // Nothing missed: told so, at the revision it came with.
    expect(watching({ epoch, revision: revisions[3]! }).messages).toEqual([
      { type: 'delta', service: 's', previous: revisions[3], revision: revisions[3], frozen: false },
    ])
  })

  test('sends a snapshot for another epoch, and for what it no longer knows', async () => {
    await begin({ history: new ServiceHistory(0, 3) })
    for (let i = 0; i < 6; i++) await put(`i${i}`)
    const { epoch } = state
    expect(watching({ epoch: 'other', revision: 5 }).types).toEqual(['snapshot'])
    expect(watching({ epoch, revision: 2 }).types).toEqual(['snapshot'])
    expect(watching({ epoch, revision: 3 }).types).toEqual(['delta'])
  })

  describe('encodes a large service in steps', () => {
    /** About 6 MB. */
    async function fill(): Promise<void> {
      for (let i = 0; i < 500; i++) {
        const large = Object.fromEntries(Array.from({ length: 24 }, (_, k) => [`k${k}`, 'x'.repeat(500)]))
        const record = { instance: instance('s', `i${i}`, { metadata: large }), owner: 'o', registeredAt: 0 }
        await state.write([{ key: KEYS.instance('s', `i${i}`), value: JSON.stringify(record) }])
      }
    }
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
    const instancesOf = (watcher: PaperWatcher): string[] =>
      watcher.messages.flatMap(({ instances = [] }) => instances.map(({ id }: { id: string }) => id))

    test('between which the event loop turns, once for all who wait', async () => {
      await fill()
      const watchers = [watching(), watching()]
      expect(watchers.map(({ types }) => types)).toEqual([[], []])
      let turns = 0
      for (; watchers[1]!.types.length === 0; turns++) await turn()
      expect(turns).toBeGreaterThan(3)
      const [first] = watchers[0]!.messages
      expect(watchers[0]!.types).toEqual(['snapshot', ...Array.from({ length: first.parts }, () => 'part')])
      expect(instancesOf(watchers[0]!)).toEqual(Array.from({ length: 500 }, (_, i) => `i${i}`))
      expect(watchers[1]!.lines).toEqual(watchers[0]!.lines)
      expect(hub.encoded).toBe(watchers[0]!.lines.length)
    })

    test('and tells what changed meanwhile behind it', async () => {
      await fill()
      const { revision } = state
      const watcher = watching()
      await turn()
      await put('new')
      await remove('i499')
      while (watcher.types.length === 0) await turn()
      expect(watcher.messages[0]).toMatchObject({ type: 'snapshot', revision })
      expect(watcher.messages.at(-1)).toMatchObject({
        type: 'delta',
        previous: revision,
        put: [{ id: 'new' }],
        gone: [{ id: 'i499', why: 'left' }],
      })
      await put('newer')
      clock.advance(20)
      expect(watcher.messages.at(-1)).toMatchObject({ previous: revision + 2, put: [{ id: 'newer' }] })
    })

    test('also when it changes all the time', async () => {
      await fill()
      const watcher = watching()
      for (let i = 0; watcher.types.length === 0; i++) {
        await put(`more-${i}`)
        clock.advance(20)
        await turn()
        expect(i).toBeLessThan(50)
      }
    })

    test('and not for one that left', async () => {
      await fill()
      const watcher = watching()
      hub.leave(watcher)
      for (let i = 0; i < 20; i++) await turn()
      expect(watcher.types).toEqual([])
      const next = watching()
      while (next.types.length === 0) await turn()
      expect(instancesOf(next)).toHaveLength(500)
    })
  })

  describe('of a watcher that knows more than this registry', () => {
    test('waits until it knows as much, and resumes then', async () => {
      const known = await put('a')
      const ahead = watching({ epoch: state.epoch, revision: known + 2 })
      await put('b')
      clock.advance(1_000)
      expect(ahead.types).toEqual([])
      await put('c')
      await put('d')
      clock.advance(20)
      expect(ahead.messages).toMatchObject([
        { type: 'delta', previous: known + 2, revision: known + 2 },
        { type: 'delta', previous: known + 2, revision: known + 3, put: [{ id: 'd' }] },
      ])
      expect(clock.timers).toBe(1)
    })

    test('sends a snapshot when it does not catch up within 2 s', async () => {
      const known = await put('a')
      const ahead = watching({ epoch: state.epoch, revision: known + 9 })
      clock.advance(1_999)
      expect(ahead.types).toEqual([])
      clock.advance(1)
      expect(ahead.messages).toMatchObject([{ type: 'snapshot', revision: known }])
      await put('b')
      clock.advance(20)
      expect(ahead.messages[1]).toMatchObject({ type: 'delta', previous: known })
    })

    test('counts it among those who have to see a change', async () => {
      const known = await put('a')
      const ahead = watching({ epoch: state.epoch, revision: known + 9 })
      let seen = false
      hub.whenSeen('s', await put('a', 's', 1), () => {
        seen = true
      })
      expect(seen).toBe(false)
      hub.acknowledge(ahead, 's', known + 9)
      expect(seen).toBe(true)
    })

    test('forgets it when it leaves, and when it asks anew', async () => {
      const { revision } = state
      const left = watching({ epoch: state.epoch, revision: revision + 9 })
      hub.leave(left)
      const again = watching({ epoch: state.epoch, revision: revision + 9 })
      hub.watch(again, 's')
      clock.advance(2_000)
      expect([left.types, again.types]).toEqual([[], ['snapshot']])
    })
  })

  test('drops deltas of a watcher that cannot keep up, and sends it one snapshot when it can', async () => {
    const slow = watching()
    const quick = watching()
    slow.size = 2 * 1024 * 1024
    for (const id of ['a', 'b', 'c']) {
      await put(id)
      clock.advance(20)
    }
    expect(slow.types).toEqual(['snapshot'])
    expect(quick.types).toEqual(['snapshot', 'delta', 'delta', 'delta'])
    slow.size = 0
    hub.drained(slow)
    expect(slow.types).toEqual(['snapshot', 'snapshot'])
    expect(slow.messages[1].instances).toHaveLength(3)
    await put('d')
    clock.advance(20)
    expect(slow.messages[2]).toMatchObject({ type: 'delta', previous: slow.messages[1].revision })
  })

  test('closes a watcher that is blocked for 30 s', async () => {
    const slow = watching()
    slow.size = 2 * 1024 * 1024
    await put('a')
    clock.advance(29_000)
    expect(slow.closedFor).toBeUndefined()
    clock.advance(7_000)
    expect(slow.closedFor).toBe('blocked')
  })

  test('has at most 20 snapshots in flight; one that leaves makes room', () => {
    const watchers = Array.from({ length: 30 }, () => {
      const watcher = new PaperWatcher()
      watcher.stuck = true
      hub.watch(watcher, 's')
      return watcher
    })
    const served = (): number => watchers.filter((watcher) => watcher.lines.length === 1).length
    expect(served()).toBe(20)
    watchers[0]!.flush[0]!()
    expect(served()).toBe(21)
    hub.leave(watchers[1]!)
    hub.leave(watchers[1]!)
    expect(served()).toBe(22)
    for (let i = 2; i < 20; i++) for (const flushed of watchers[i]!.flush) flushed()
    expect(served()).toBe(30)
    expect(hub.encoded).toBe(1)
  })

  test('sends bookmarks, encoded once, every 10 s', async () => {
    const watchers = [watching(), watching()]
    const revision = await put('a', 'other')
    clock.advance(10_100)
    expect(watchers[0]!.messages[1]).toEqual({
      type: 'mark',
      epoch: state.epoch,
      revision,
      wallNow: clock.wallNow() - 100,
    })
    expect(watchers[1]!.lines[1]).toBe(watchers[0]!.lines[1])
    clock.advance(10_000)
    expect(watchers[0]!.types).toEqual(['snapshot', 'mark', 'mark'])
  })

  test('knows when everybody has acknowledged; who leaves is not waited for, who does not acknowledge neither', async () => {
    const [a, b] = [watching(), watching()]
    const script = Object.assign(new PaperWatcher(), { acknowledges: false })
    hub.watch(script, 's')
    const revision = await put('a')
    const seen: number[] = []
    hub.whenSeen('s', revision, (watchers) => seen.push(watchers))
    clock.advance(20)
    hub.acknowledge(a!, 's', revision - 1)
    hub.acknowledge(a!, 's', revision)
    expect(seen).toEqual([])
    hub.leave(b!)
    expect(seen).toEqual([2])
    hub.whenSeen('s', revision, (watchers) => seen.push(watchers))
    expect(seen).toEqual([2, 1])
    hub.whenSeen('nobody', 1, (watchers) => seen.push(watchers))
    expect(seen).toEqual([2, 1, 0])
  })

  test('says nothing while watchers of the last run may not be back yet', async () => {
    hub.expectWatchers(15_000)
    const a = watching()
    const revision = await put('a')
    const seen: number[] = []
    hub.acknowledge(a, 's', revision)
    hub.whenSeen('s', revision, (watchers) => seen.push(watchers))
    expect(seen).toEqual([])
    clock.advance(15_000)
    hub.whenSeen('s', revision, (watchers) => seen.push(watchers))
    expect(seen).toEqual([1])
  })

  test('tells that expiry is frozen without breaking the chain, and newcomers too', async () => {
    const revision = await put('a')
    const watcher = watching()
    hub.setFrozen('s', true)
    expect(watcher.messages[1]).toEqual({ type: 'delta', service: 's', previous: revision, revision, frozen: true })
    expect(watching().messages[0]).toMatchObject({ frozen: true })
    expect(watching({ epoch: state.epoch, revision }).messages[0]).toMatchObject({ frozen: true })
    hub.setFrozen('s', false)
    expect(watcher.messages[2]).toMatchObject({ frozen: false })
  })

  test('keeps nothing of names that were only watched, and no timer after closing', () => {
    const watcher = new PaperWatcher()
    for (let i = 0; i < 100; i++) hub.watch(watcher, `s${i}`)
    for (let i = 0; i < 100; i++) hub.unwatch(watcher, `s${i}`)
    hub.leave(watcher)
    expect(hub.watchers).toBe(0)
    hub.close()
    expect(clock.timers).toBe(0)
  })
})
