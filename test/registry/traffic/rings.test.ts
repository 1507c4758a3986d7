/** The rings against a naive model: nothing is lost or counted twice, in any order. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RecordReader, RecordWriter } from '../../../src/registry/traffic/records.ts'
import { Rings } from '../../../src/registry/traffic/rings.ts'
import { KEPT_MS, MINUTE_MS, SLOT_MS, type Span } from '../../../src/registry/traffic/slots.ts'
import { Totals } from '../../../src/registry/traffic/totals.ts'
import { DIGEST_STEPS } from '../../../src/telemetry/traffic/latency-digest.ts'

function totalsOf(given: Partial<Plain>): Totals {
  const totals = new Totals()
  totals.calls = given.calls ?? 0
  totals.retries = given.retries ?? 0
  totals.hedges = given.hedges ?? 0
  totals.mirrored = given.mirrored ?? 0
  for (const [code, count] of given.codes ?? []) totals.addFailures(code, count)
  for (const [step, count] of given.latencies ?? []) totals.addLatencies(step, count)
  return totals
}

interface Plain {
  readonly calls: number
  readonly retries: number
  readonly hedges: number
  readonly mirrored: number
  readonly codes: readonly (readonly [number, number])[]
  readonly latencies: readonly (readonly [number, number])[]
}

function plain(totals: Totals): object {
  const { calls, retries, hedges, mirrored, codes, steps } = totals
  const failures = [...codes].filter(([, n]) => n > 0).sort(([a], [b]) => a - b)
  const latencies = [...steps.entries()].filter(([, n]) => n > 0)
  return { calls, retries, hedges, mirrored, failures, latencies }
}

const count = fc.oneof(fc.constant(0), fc.nat(3), fc.nat(300), fc.nat(2 ** 40))
const totals = fc.record({
  calls: count,
  retries: count,
  hedges: count,
  mirrored: count,
  codes: fc.uniqueArray(fc.tuple(fc.nat(249), count), { selector: ([code]) => code, maxLength: 5 }),
  latencies: fc.uniqueArray(fc.tuple(fc.nat(DIGEST_STEPS - 1), count), { selector: ([step]) => step, maxLength: 20 }),
})

function settle(rings: Rings, now: number): void {
  for (const _ of rings.settle(now)) {
    // Driven to its end.
  }
}

/** By series, all that the rings have within a span. */
function read(rings: Rings, span: Span, coarse = false): Map<number, Totals> {
  const found = new Map<number, Totals>()
  for (const { chunks } of rings.within(span, coarse)) {
    for (const chunk of chunks) {
      const reader = new RecordReader(chunk)
      while (reader.next()) {
        const of = found.get(reader.series) ?? new Totals()
        reader.addTo(of)
        found.set(reader.series, of)
      }
    }
  }
  return found
}

test('records are read as they were written, and skipped to the same place', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(40_000), totals), { maxLength: 8 }), (written) => {
      const writer = new RecordWriter()
      for (const [series, given] of written) writer.write(series, totalsOf(given))
      const reader = new RecordReader(writer.take())
      const skipping = new RecordReader(writer.take())
      for (const [series, given] of written) {
        expect([reader.next(), skipping.next()]).toEqual([true, true])
        const read = new Totals()
        reader.addTo(read)
        skipping.skip()
        expect([reader.series, plain(read)]).toEqual([series, plain(totalsOf(given))])
        expect(skipping.position).toBe(reader.position)
      }
      expect([reader.next(), skipping.next()]).toEqual([false, false])
    }),
  )
})

test('sums over the last hour are those of a list of everything that came', () => {
  const event = fc.record({
    afterMs: fc.oneof(fc.nat(2_000), fc.nat(20_000), fc.nat(120_000)),
    series: fc.nat(5),
    lateMs: fc.oneof(fc.constant(0), fc.nat(3_000), fc.nat(90_000)),
    forMs: fc.oneof(fc.constant(SLOT_MS), fc.nat(12_000), fc.nat(100_000)),
    totals,
  })
  fc.assert(
    fc.property(fc.array(event, { minLength: 1, maxLength: 60 }), fc.nat(60_000), (events, begin) => {
      let now = begin + 200_000
      const since = now
      const rings = new Rings(now)
      const model: { series: number; totals: Totals; to: number }[] = []
      for (const { afterMs, series, lateMs, forMs, totals } of events) {
        now += afterMs
        const to = Math.max(now - lateMs, since + 1)
        const from = Math.max(to - Math.max(1, forMs), since)
        model.push({ series, totals: totalsOf(totals), to })
        expect(rings.add(series, totalsOf(totals), { from, to })).toBe(true)
        settle(rings, now)
      }
      now += 2 * MINUTE_MS
      settle(rings, now)
      settle(rings, now)
      // Of what is old, its minute decides: leave out what the edge of the hour may cut.
      fc.pre(now - KEPT_MS < since)
      for (const coarse of [false, true]) {
        const found = read(rings, { from: 0, to: now }, coarse)
        for (const series of new Set(model.map((one) => one.series))) {
          const expected = new Totals()
          for (const one of model) if (one.series === series) expected.add(one.totals)
          expect(plain(found.get(series) ?? new Totals())).toEqual(plain(expected))
        }
      }
    }),
    { numRuns: 150 },
  )
})

test('what covers several slots is divided among them by time, to one call', () => {
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.nat(100_000), fc.integer({ min: 1, max: 100_000 }), (calls, offset, forMs) => {
      const start = 10 * MINUTE_MS
      const rings = new Rings(start)
      const span = { from: start + offset, to: start + offset + forMs }
      rings.add(1, totalsOf({ calls, latencies: [[7, calls]] }), span)
      settle(rings, span.to + MINUTE_MS)
      for (let from = start; from < span.to; from += SLOT_MS) {
        const found = read(rings, { from, to: from + SLOT_MS }).get(1) ?? new Totals()
        const ms = Math.max(0, Math.min(span.to, from + SLOT_MS) - Math.max(span.from, from))
        // Each slot may round once more.
        expect(Math.abs(found.calls - (calls * ms) / forMs)).toBeLessThanOrEqual(2)
        expect(Math.abs(found.steps[7]! - (calls * ms) / forMs)).toBeLessThanOrEqual(2)
      }
    }),
  )
})

test('slots give way to minutes after ten minutes, and minutes are forgotten after an hour', () => {
  const rings = new Rings(0)
  let now = 0
  for (; now < 90 * MINUTE_MS; now += SLOT_MS) {
    rings.add(1, totalsOf({ calls: 10 }), { from: now, to: now + SLOT_MS })
    settle(rings, now + SLOT_MS)
  }
  const found = rings.within({ from: 0, to: now }, false)
  const slots = found.filter(({ from, to }) => to - from === SLOT_MS)
  const minutes = found.filter(({ from, to }) => to - from === MINUTE_MS)
  expect(slots.length * SLOT_MS).toBeGreaterThanOrEqual(9 * MINUTE_MS)
  expect(slots.length * SLOT_MS).toBeLessThanOrEqual(11 * MINUTE_MS)
  expect(minutes.length + (slots.length * SLOT_MS) / MINUTE_MS).toBeGreaterThanOrEqual(59)
  expect(minutes.length + (slots.length * SLOT_MS) / MINUTE_MS).toBeLessThanOrEqual(61)
  // Without a hole and without an overlap.
  for (const [i, one] of found.entries()) if (i > 0) expect(one.from).toBe(found[i - 1]!.to)
  const all = read(rings, { from: 0, to: now }).get(1)!
  expect(all.calls).toBe((10 * (found.at(-1)!.to - found[0]!.from)) / SLOT_MS)
})

test('what comes late for the first minute, which began in its middle, is kept as long as others', () => {
  const start = 4 * MINUTE_MS + 3 * SLOT_MS
  const rings = new Rings(start)
  settle(rings, 6 * MINUTE_MS)
  rings.add(1, totalsOf({ calls: 7 }), { from: start, to: start + SLOT_MS })
  for (let now = 6 * MINUTE_MS; now < 20 * MINUTE_MS; now += SLOT_MS) settle(rings, now)
  expect(read(rings, { from: 0, to: 20 * MINUTE_MS }).get(1)?.calls).toBe(7)
})

test('memory is bounded: the oldest detail goes first, then the oldest minutes, and none of it is zero', () => {
  const most = 100_000
  const rings = new Rings(0, most)
  let now = 0
  let largest = 0
  for (; now < 40 * MINUTE_MS; now += SLOT_MS) {
    for (let series = 0; series < 200; series++) {
      rings.add(
        series,
        totalsOf({
          calls: 250,
          latencies: [
            [40, 100],
            [41, 150],
          ],
        }),
        { from: now, to: now + SLOT_MS },
      )
    }
    settle(rings, now + SLOT_MS)
    largest = Math.max(largest, rings.bytes)
  }
  // Besides what is kept whatever happens: two minutes of slots.
  expect(largest).toBeLessThan(most + 60_000)
  const [first] = rings.within({ from: 0, to: now }, false)
  expect(first!.from).toBe(rings.since)
  expect(rings.since).toBeGreaterThan(10 * MINUTE_MS)
})

test('a slot that is full says that something is lost', () => {
  const rings = new Rings(0)
  const flood = totalsOf({ calls: 2 ** 40, latencies: Array.from({ length: DIGEST_STEPS }, (_, i) => [i, 2 ** 39]) })
  let kept = 0
  for (; kept < 100_000; kept++) {
    const copy = new Totals()
    copy.add(flood)
    if (!rings.add(kept % 1_000, copy, { from: 0, to: SLOT_MS })) break
  }
  expect(kept).toBeLessThan(100_000)
  settle(rings, MINUTE_MS)
  expect(read(rings, { from: 0, to: SLOT_MS }).get(1)!.calls).toBeGreaterThan(0)
})
