/** What a log shows of a {@link MeshError} by `util.inspect`, as `console` and Next.js do. */
import { inspect } from 'node:util'
import { expect, it } from 'vitest'
import { MeshError } from '../../src/core/errors.ts'

const error = new MeshError('no answer', {
  code: 'deadline-exceeded',
  attempts: [
    { endpoint: '10.0.0.7:8080', durationMs: 4.32159, code: 'overloaded', status: 503 },
    { endpoint: undefined, durationMs: 0, code: 'no-endpoints', status: undefined },
  ],
})

it('shows each attempt on a line, where the error is a field', () => {
  const shown = inspect({ error })
  expect(shown).toContain('<10.0.0.7:8080 503 overloaded in 4.3 ms>')
  expect(shown).toContain('<no endpoint no-endpoints in 0 ms>')
  expect(shown).not.toContain('[Object]')
})

it('keeps attempts as data in JSON and in clones', () => {
  const report = { endpoint: '10.0.0.7:8080', durationMs: 4.32159, code: 'overloaded', status: 503 }
  expect(JSON.parse(JSON.stringify(error)).attempts[0]).toEqual(report)
  expect(structuredClone(error.attempts[0])).toEqual(report)
})
