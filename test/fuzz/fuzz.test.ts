/**
 * The quick form of `npm run fuzz`: some thousands of mutated exchanges with real listeners, the
 * same ones each time.
 */
import { expect, test } from 'vitest'
import { Fuzzer, type FuzzResult } from './fuzz.ts'
import { LISTENERS } from './listeners.ts'
import { type EngineSide, fuzzEngine } from './mux-engine.ts'

/** CPU time of its main thread; the first use of each door compiles it. */
const MOST_TURN_MS = 250

test('no bytes end a process, go uncaught, or block its loop', { timeout: 240_000 }, async () => {
  const fuzzer = await Fuzzer.start()
  const results: FuzzResult[] = []
  const turns = new Map<string, number>()
  try {
    for (const [i, listener] of LISTENERS.entries()) {
      // A virtual machine that was stopped counts the pause as work; the same exchanges do not a
      // second time.
      for (let runs = 0; runs < 3 && (turns.get(listener) ?? MOST_TURN_MS) >= MOST_TURN_MS; runs++) {
        const result = await fuzzer.run(listener, 600, 42 + i)
        results.push(result)
        turns.set(listener, result.turnMs)
      }
    }
  } finally {
    fuzzer.close()
  }
  expect(results.flatMap(({ uncaught, exit, listener }) => (exit ? [`${listener}: ${exit}`] : uncaught))).toEqual([])
  expect(results.every(({ exchanges }) => exchanges >= 600)).toBe(true)
  expect([...turns].filter(([, turnMs]) => turnMs >= MOST_TURN_MS)).toEqual([])
})

test.each<EngineSide>(['server', 'client'])('no frames harm the %s of inmesh/1', { timeout: 120_000 }, async (side) => {
  const { uncaught, inputs, mostBytes } = await fuzzEngine(side, 2_000, 42)
  expect({ uncaught, inputs }).toEqual({ uncaught: [], inputs: 2_000 })
  expect(mostBytes).toBeLessThan(2_000_000)
})
