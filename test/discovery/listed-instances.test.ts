import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addressKey } from '../../src/core/endpoint.ts'
import type { Instance } from '../../src/discovery/instance.ts'
import { ListedInstances } from '../../src/discovery/listed-instances.ts'
import { applyDelta, type ServiceView } from '../../src/discovery/registry/service-view.ts'

function instance(id: number, port: number, weight: number): Instance {
  return {
    service: 's',
    id: `e${id}`,
    address: '10.0.0.1',
    port,
    protocol: 'http',
    tls: true,
    zone: undefined,
    version: undefined,
    weight,
    metadata: {},
    state: 'ready',
  }
}

const INSTANCE = fc.record({ id: fc.nat(12), port: fc.integer({ min: 1, max: 14 }), weight: fc.nat(3) })
const STEP = fc.record({ put: fc.array(INSTANCE, { maxLength: 3 }), gone: fc.array(fc.nat(12), { maxLength: 3 }) })

function view(instances: readonly Instance[]): ServiceView {
  return {
    service: 's',
    epoch: 'x',
    revision: 1,
    endpoints: { instances, intended: true, left: new Set(), frozen: false, stale: false },
    document: { policy: null },
  }
}

/** By address, the last of the list. */
function byAddress(list: readonly Instance[]): Map<string, Instance> {
  return new Map(list.map((each) => [addressKey(each), each]))
}

describe('listed instances', () => {
  it('name what a delta or another list changes, whatever shares an address', () => {
    fc.assert(
      fc.property(fc.array(STEP, { maxLength: 12 }), fc.array(fc.boolean()), (steps, whole) => {
        const listed = new ListedInstances()
        const known = new Map<string, Instance>()
        let now = view([])
        for (const [nth, { put, gone }] of steps.entries()) {
          const unique = new Map(put.map(({ id, port, weight }) => [id, instance(id, port, weight)]))
          now = applyDelta(now, {
            type: 'delta',
            service: 's',
            previous: nth,
            revision: nth + 1,
            put: [...unique.values()],
            gone: gone.filter((id) => !unique.has(id)).map((id) => ({ id: `e${id}`, why: 'left' as const })),
          })
          // As from another snapshot: other objects.
          if (whole[nth] === true) now = view(now.endpoints.instances.map((each) => ({ ...each })).reverse())
          const change = listed.take(now.endpoints.instances)
          for (const [key, each] of change.put) known.set(key, each)
          for (const key of change.gone) known.delete(key)
          expect(new Map([...known].sort())).toEqual(new Map([...byAddress(now.endpoints.instances)].sort()))
          expect([...listed.addresses()].sort()).toEqual([...known.keys()].sort())
        }
      }),
      { numRuns: 300 },
    )
  })

  it('name one of ten thousand when one has changed', () => {
    const all = Array.from({ length: 10_000 }, (_, i) => instance(i, i + 1, 100))
    const listed = new ListedInstances()
    listed.take(all)
    const changed = instance(7, 8, 50)
    const { put, gone } = listed.take(all.map((each) => (each.id === 'e7' ? changed : each)))
    expect([...put]).toEqual([[addressKey(changed), changed]])
    expect(gone).toEqual([])
    const less = listed.take(all.filter(({ id }) => id !== 'e7'))
    expect([[...less.put], less.gone]).toEqual([[], [addressKey(changed)]])
  })
})
