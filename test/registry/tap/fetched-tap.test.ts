/** What another registry answers about a tap is checked like what a process sends. */
import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import type { OutgoingResponse } from '../../../src/registry/api/request.ts'
import { fetchedIn } from '../../../src/registry/tap/fetched-tap.ts'
import { MeshTaps } from '../../../src/registry/tap/mesh-taps.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

const CALL = {
  ...{ at: 1, to: 'inventory', protocol: 'http', method: 'GET', path: '/', status: 200, ms: 1, attempts: 1 },
  ...{ from: 'checkout', process: 'checkout p1' },
}
const FETCHED = { registry: 'r2', processes: 1, notTappable: ['old'], busy: ['full'], calls: [CALL], left: 0 }

const NONSENSE: readonly object[] = [
  {},
  ...Object.keys(FETCHED).map((key) => ({ ...FETCHED, [key]: key === 'registry' ? 5 : 'x' })),
  ...[null, 'x', { ...CALL, from: '<img>' }, { ...CALL, at: -1 }, { ...CALL, ms: 'x' }, { ...CALL, headers: [1] }].map(
    (call) => ({ ...FETCHED, calls: [call] }),
  ),
  { ...FETCHED, notTappable: [5] },
  { ...FETCHED, busy: [5] },
]

class Reader extends EventEmitter {
  readonly lines: string[] = []
  readonly destroyed = false
  readonly writableEnded = false
  readonly writableLength = 0
  writeHead(): void {}
  flushHeaders(): void {}
  write(line: string): void {
    this.lines.push(line)
  }
  end(): void {
    this.emit('close')
  }
}

test('a registry that answers nonsense is named, and the tap goes on with the others', async () => {
  const clock = new FakeClock()
  let turn = 0
  const taps = new MeshTaps(clock, {
    id: 'r1',
    ask: async () => {
      const body = NONSENSE[turn++ % NONSENSE.length] as Record<string, unknown>
      return [
        { registry: 'r3', body, reason: '' },
        { registry: 'r2', body: FETCHED, reason: '' },
      ]
    },
  })
  const reader = new Reader()
  const question = { service: 'inventory', headers: [], perSecond: 20, forMs: 60_000 }
  const asked = { question, max: 10, allowed: () => new Set<string>(), ended: () => {} }
  taps.open(reader as unknown as OutgoingResponse, 'admin', asked)
  await clock.settle(15_000, 1_000)
  const records = reader.lines.map((line) => JSON.parse(line))
  expect(records[0]).toMatchObject({
    ...{ type: 'tap', processes: 1, notTappable: ['old'], registries: ['r1', 'r2'] },
    unreachable: [{ registry: 'r3', reason: 'its answer is not one of this version' }],
  })
  expect(records.filter(({ type }) => type === 'busy')).toEqual([{ type: 'busy', processes: ['full'] }])
  expect(records.filter(({ type }) => type === 'call')).toHaveLength(10)
  expect(records.at(-1)).toMatchObject({ type: 'end', why: 'max' })
})

test('a registry of an older version, which names no busy processes, is read', () => {
  const { busy, ...older } = FETCHED
  expect([busy, fetchedIn(older)]).toMatchObject([['full'], { busy: [], processes: 1 }])
})

test('texts of its calls obey no terminal, and nothing else of them is kept', () => {
  const [call] = fetchedIn({ ...FETCHED, calls: [{ ...CALL, path: '/\u001b[2J', type: 'end', more: 1 }] })!.calls
  expect(call).toEqual({ ...CALL, path: expect.not.stringContaining('\u001b') })
  expect(NONSENSE.filter((body) => fetchedIn(body as Record<string, unknown>) !== undefined)).toEqual([])
})
