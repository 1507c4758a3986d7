import fc from 'fast-check'
import { test } from 'vitest'
import { step, World } from './world.ts'

/** `node test/mux/model-runs.ts` runs a hundred thousand. */
const RUNS = 1_000

test('both ends agree with a naive model, with any steps and any split of bytes', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => new World().run(steps)),
    { numRuns: RUNS, seed: 1 },
  )
})
