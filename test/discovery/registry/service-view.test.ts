import { expect, test } from 'vitest'
import { retainLastGood, type ServiceView, viewOf } from '../../../src/discovery/registry/service-view.ts'
import { instance } from '../../rigs/instance.ts'

function view(epoch: string, ids: readonly string[], intended = false): ServiceView {
  const instances = ids.map((id) => instance('inventory', id))
  const whole = { epoch, revision: 7, instances, policy: null, intended, frozen: false } as const
  return viewOf({ type: 'snapshot', service: 'inventory', ...whole })
}

test('a list of another epoch is doubted, and does not speak for what it never knew', () => {
  const { endpoints } = retainLastGood(view('second', ['a'], true), view('first', ['a', 'b']))
  expect(endpoints).toMatchObject({ doubted: true, intended: false })
})

test('a list of the same epoch, the first one, and one after a stale one are believed', () => {
  const known = view('first', ['a', 'b'])
  const stale = { ...known, endpoints: { ...known.endpoints, stale: true } }
  for (const next of [
    retainLastGood(view('first', ['a'], true), known),
    retainLastGood(view('first', ['a'], true), undefined),
    retainLastGood(view('second', ['a'], true), stale),
  ]) {
    expect(next.endpoints.doubted).toBeUndefined()
    expect(next.endpoints.intended).toBe(true)
  }
})
