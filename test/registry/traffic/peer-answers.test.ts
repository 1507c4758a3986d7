/** Another registry that answers with nonsense is named, and spoils no answer. */
import { expect, test } from 'vitest'
import { type PeerAnswer, readAnswers } from '../../../src/registry/fleet/answer-checks.ts'
import { certificatesIn, marksIn, processesIn, windowIn } from '../../../src/registry/traffic/peer-answers.ts'

const WINDOW = {
  registry: 'r2',
  sinceMs: 0,
  cells: [{ step: 0, from: 'a', to: 'b', version: 'v1', tls: true, calls: 2, codes: { timeout: 1 }, ms: '1c:2' }],
  processes: [{ name: 'a p1', service: 'a', reports: true, from: 0, to: 5_000, holes: [[0, 1_000]] }],
  states: [{ process: 'a p1', to: 'b', what: 'circuit', state: 'open', endpoint: '' }],
  inFlight: [['a', 'b', 1]],
}
const REPORT = {
  ...{ process: 'a p1', registry: 'r2', instances: ['i1'], connected: true, reports: true, silentMs: 5 },
  ...{ certificateEndsAt: 9, watches: 1, behind: 0, perSecond: 1.5, success: 0.5, p50: 1, p99: 2, inFlight: 0 },
  served: { i1: { perSecond: 2, success: 1, p50: 1, p99: 2, inFlight: 0 } },
}
const CERTIFICATE = { process: 'a p1', service: 'a', certificateEndsAt: 5 }
const MARK = { at: 5, agoMs: 5, service: 'a', process: 'a p1', to: 'b', what: 'circuit', now: 'open' }

const UNKNOWNS = Object.keys(REPORT).filter((key) => /^(?:silent|cert|watches|behind|per|success|p\d|inF)/.test(key))
const NULLABLE = [...UNKNOWNS, 'served.i1.success', 'served.i1.p50', 'served.i1.p99'].map((key) => `processes.0.${key}`)
const NO_VALUES = [null, 'x', 5, [], {}, Number.NaN, [null], [[]], true]

/** `good` with one field after the other, at any depth, replaced by a value of another kind. */
function* broken(good: unknown): Generator<readonly [what: string, body: unknown]> {
  if (typeof good !== 'object' || good === null) return
  for (const [key, value] of Object.entries(good)) {
    const replaced = (by: unknown): unknown =>
      Array.isArray(good) ? good.with(Number(key), by) : { ...good, [key]: by }
    for (const other of NO_VALUES) {
      if (typeof other !== typeof value || Array.isArray(other) !== Array.isArray(value) || other === null) {
        yield [`${key} is ${JSON.stringify(other)}`, replaced(other)]
      }
    }
    for (const [what, inner] of broken(value)) yield [`${key}.${what}`, replaced(inner)]
  }
}

test.each([
  ['window', windowIn, WINDOW, []],
  ['processes', processesIn, { processes: [REPORT] }, NULLABLE],
  ['marks', marksIn, { marks: [MARK] }, []],
  ['certificates', certificatesIn, { certificates: [CERTIFICATE] }, ['certificates.0.certificateEndsAt']],
] as const)('an answer about %s is taken whole or not at all', (_, read, good, nullable) => {
  expect(read({ ...good, later: 'fields of a later version' })).toBeDefined()
  expect(read({})).toBeUndefined()
  const taken = [...broken(good)].filter(([, body]) => read(body as Record<string, unknown>) !== undefined)
  expect(taken.map(([what]) => what)).toEqual(nullable.map((key) => `${key} is null`))
})

test('counts below zero, beyond what is exact, and steps of no number are refused', () => {
  for (const cell of [
    { calls: -1 },
    { calls: 2 ** 60 },
    { step: -1 },
    { step: 0.5 },
    { ms: '~' },
    { codes: { a: 1.5 } },
  ]) {
    expect(windowIn({ ...WINDOW, cells: [{ ...WINDOW.cells[0], ...cell }] })).toBeUndefined()
  }
})

test('those that did not answer and those that answered nonsense are named with the reason', () => {
  const all: PeerAnswer[] = [
    { registry: 'r2', body: WINDOW, reason: '' },
    { registry: 'r3', body: { cells: 'all of them' }, reason: '' },
    { registry: 'r4', body: undefined, reason: 'nothing within 1000 ms' },
  ]
  expect(readAnswers(all, windowIn)).toEqual({
    answered: [{ registry: 'r2', value: WINDOW }],
    unreachable: [
      { registry: 'r3', reason: 'its answer is not one of this version' },
      { registry: 'r4', reason: 'nothing within 1000 ms' },
    ],
  })
})
