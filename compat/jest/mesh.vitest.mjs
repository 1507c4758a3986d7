import { afterAll, beforeAll, expect, test } from 'vitest'
import { cases } from './mesh.cases.js'

const { before, after, ...others } = cases(
  (actual, expected) => expect(actual).toStrictEqual(expected),
  (promise, Class) => expect(promise).rejects.toBeInstanceOf(Class),
)
beforeAll(before)
afterAll(after)
for (const [name, run] of Object.entries(others)) test(name, run, 30_000)
