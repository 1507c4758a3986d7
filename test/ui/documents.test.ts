/** Documents as the page reads them: who may call, where routes lead, and since when. */
import { describe, expect, it } from 'vitest'
import type { PolicyInfo } from '../../src/registry/policies.ts'
import { rulesOf } from '../../src/ui/service/access-rules.ts'
import { wantedRoutes } from '../../src/ui/service/wanted.ts'
import { fromFirstKnown } from '../../src/ui/service/young.ts'

function policy(service: string, document: object): PolicyInfo {
  return { service, version: 1, at: 0, by: 'admin', document: { service, ...document } }
}

describe('who may call', () => {
  const [mesh, own] = [policy('mesh', { allow: [{ from: '*' }] }), policy('a', { allow: [{ from: 'b' }] })]

  it('is what the list of the service says, which replaces that of the mesh', () => {
    expect(rulesOf('a', [mesh, own], true)).toEqual({ document: own, rules: [{ from: 'b' }], others: 'deny' })
    expect(rulesOf('c', [mesh, own], false)).toEqual({ document: mesh, rules: [{ from: '*' }], others: 'deny' })
    const nobody = policy('a', { allow: [] })
    expect(rulesOf('a', [mesh, nobody], true)).toEqual({ document: nobody, rules: [], others: 'deny' })
  })

  it('is, without a list, the default of the mesh', () => {
    const open = policy('mesh', { defaultIntention: 'allow' })
    expect(rulesOf('a', [open], false).others).toBe('allow')
    expect(rulesOf('a', [], false).others).toBe('deny')
    expect(rulesOf('a', [], true).others).toBe('allow')
  })
})

describe('the routes of a document', () => {
  it('have weights as shares, by whatever names a target', () => {
    const split = [
      { to: 'green', weight: 1 },
      { version: 'v1', weight: 3 },
    ]
    expect(wantedRoutes([{ name: 'items', match: { path: '/items/*' }, split }, { to: 'blue' }])).toEqual([
      { name: 'items', when: 'path /items/*', shares: { green: 0.25, v1: 0.75 }, to: undefined },
      { name: 'routes[1]', when: '', shares: null, to: 'blue' },
    ])
  })

  it('may be anything else, and are then not shown', () => {
    expect([undefined, null, 'x', {}].map(wantedRoutes)).toEqual([[], [], [], []])
    expect(wantedRoutes([null, 1, { split: 'x', to: 3, match: [null] }])).toEqual([
      { name: 'routes[0]', when: 'null', shares: null, to: undefined },
    ])
  })
})

describe('a series', () => {
  it('begins with what is known, and is no single point', () => {
    const points = Array.from({ length: 120 }, (_, i) => ({ perSecond: i < 60 ? null : i }))
    expect(fromFirstKnown(points)).toEqual(points.slice(59))
    const late = Array.from({ length: 120 }, (_, i) => ({ perSecond: i < 119 ? 0 : 1 }))
    expect(fromFirstKnown(late)).toHaveLength(13)
    const never = late.slice(0, 50)
    expect(fromFirstKnown(never)).toBe(never)
  })
})
