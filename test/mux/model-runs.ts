/**
 * `node test/mux/model-runs.ts [--runs 100000] [--seed n]`: both ends of `inmesh/1` against the
 * naive model. The suite runs a hundredth of it (model.test.ts).
 */
import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { step, World } from './world.ts'

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
  },
})
const [numRuns, seed] = [Number(values.runs), Number(values.seed)]
const began = performance.now()
await fc.assert(
  fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => new World().run(steps)),
  { numRuns, seed },
)
console.log(JSON.stringify({ runs: numRuns, seed, seconds: Math.round((performance.now() - began) / 1_000) }))
