import { expect, it } from 'vitest'
import { MeshError, meshErrorOf } from '../../src/core/errors.ts'

const error = new MeshError('gone', { code: 'connect-failed', service: 'inventory' })

it.each([
  ['itself', error],
  ['a cause', new Error('outer', { cause: new TypeError('inner', { cause: error }) })],
  ['a network error', Object.assign(new Error('outer'), { networkError: error })],
  ['one of several', new AggregateError([new Error('first'), undefined, error])],
])('finds the error of the mesh: %s', (_what, given) => {
  expect(meshErrorOf(given)).toBe(error)
})

it('finds none in circles, throwing getters, values and chains without end', () => {
  const circle = new Error('circle')
  circle.cause = circle
  const throwing = {
    get cause() {
      throw new Error('mine')
    },
  }
  const endless = {
    get cause(): unknown {
      return { ...Object.getOwnPropertyDescriptors({}), __proto__: endless }
    },
  }
  for (const given of [circle, throwing, endless, undefined, null, 'text', 7])
    expect(meshErrorOf(given)).toBeUndefined()
})
