/** No key of a document is ignored in silence. */
import { expect, it } from 'vitest'
import type { PolicyDocument } from '../../src/discovery/policy-document.ts'
import { notSimulated } from '../../src/simulator/not-simulated.ts'
import { reachedServices } from '../../src/simulator/reached-services.ts'
import type { Scenario } from '../../src/simulator/scenario.ts'
import { scenarioOf } from './rig.ts'

function left(documents: readonly PolicyDocument[], changes: Partial<Scenario> = {}): readonly string[] {
  const scenario = scenarioOf({}, { documents, ...changes })
  const reached = new Set(reachedServices(documents, scenario.service).keys())
  return notSimulated(scenario, reached).map(({ service, path }) => (path === '' ? service : `${service}: ${path}`))
}

it('what needs callers, connections, content or a registry is named with its path', () => {
  const document: PolicyDocument = {
    service: 'inventory',
    ...{ allow: [{ from: 'checkout' }], idleTimeout: '5s', transport: 'http1', slowStart: '10s', timeout: '1s' },
    retry: { attempts: 2, idempotent: ['shop.Inventory/Get'] },
    limits: { rate: 100, global: { rate: 1_000 } },
    routes: [
      { name: 'plain' },
      {
        name: 'all',
        match: [{ path: '/items/{id}' }],
        mirror: [{ to: { service: 'shadow' }, share: '10%' }],
        headers: { request: { set: { 'x-a': '1' } } },
      },
    ],
  }
  expect(left([document]).toSorted()).toEqual([
    'inventory: allow',
    'inventory: idleTimeout',
    'inventory: limits.global',
    'inventory: retry.idempotent',
    'inventory: routes[1].headers',
    'inventory: routes[1].mirror',
    'inventory: slowStart',
    'inventory: transport',
  ])
})

it('zones need zones', () => {
  const document: PolicyDocument = {
    service: 'inventory',
    zone: 'prefer',
    failover: [{ zone: 'same' }, { zone: 'any' }],
  }
  expect(left([document])).toEqual(['inventory: zone', 'inventory: failover'])
  expect(left([document], { zones: 2 })).toEqual([])
  expect(left([{ service: 'inventory', failover: [{ region: 'same' }] }], { zones: 2 })).toEqual([
    'inventory: failover',
  ])
})

it('documents that no call reaches are named, and those that it reaches are not', () => {
  const documents: PolicyDocument[] = [
    { service: 'mesh', defaultIntention: 'allow' },
    { service: 'inventory', routes: [{ name: 'eu', to: { service: 'inventory-eu' } }] },
    { service: 'inventory-eu', timeout: '1s' },
    { service: 'billing', timeout: '1s' },
  ]
  expect(left(documents)).toEqual(['mesh: defaultIntention', 'billing'])
})
