import { describe, expect, it } from 'vitest'
import type { BalancingClient } from '../../../src/client/balancing/arranged.ts'
import type { EndpointOwner } from '../../../src/client/targets/endpoint-owner.ts'
import { levelsOf, type Subset } from '../../../src/client/targets/failover-levels.ts'
import { Endpoint } from '../../../src/core/endpoint.ts'
import { resolvePolicy } from '../../../src/discovery/policy-document.ts'
import type { FailoverLevelOptions } from '../../../src/routing/failover.ts'

/** Only the name of an owner is asked for. */
const ownerOf = (service: string) => ({ service }) as EndpointOwner
const called = ownerOf('inventory')
const others = new Map(['inventory-eu', 'prices'].map((service) => [service, ownerOf(service)]))

function endpoint(zone: string | undefined, metadata: Record<string, string> = {}, version?: string): Endpoint {
  return new Endpoint('inventory', {
    ...{ id: 'i-1', address: '127.0.0.1', port: 8080, protocol: 'http', tls: true, weight: 1 },
    ...{ zone, version, metadata },
  })
}

interface Target {
  readonly owner?: EndpointOwner
  readonly subset?: Subset
  readonly client?: Partial<BalancingClient>
}

/** Each level as its owner and the endpoints of `among` that it takes, by their index. */
function levels(written: readonly FailoverLevelOptions[], among: readonly Endpoint[] = [], target: Target = {}) {
  const { routing } = resolvePolicy(null, { service: 'inventory', failover: written })
  const made = levelsOf(routing!.failover!, {
    owner: target.owner ?? called,
    subset: () => target.subset,
    called,
    client: { id: 'client-1', zone: undefined, ...target.client },
    ownerOf: (service) => (service === 'inventory' ? called : others.get(service)),
    subsetOf: (_, name) => (name === 'blue' ? { version: 'v1', metadata: [] } : 'none'),
  })
  return made.map(({ owner, isMember }) => [owner.service, ...among.flatMap((each, i) => (isMember(each) ? [i] : []))])
}

describe('failover levels', () => {
  it('by zone take the endpoints of our zone, and all', () => {
    const among = [endpoint('a'), endpoint('b'), endpoint(undefined)]
    const written = [{ zone: 'same' }, { zone: 'any' }] as const
    expect(levels(written, among, { client: { zone: 'a' } })).toEqual([
      ['inventory', 0],
      ['inventory', 0, 1, 2],
    ])
    // A process without a zone is in the same zone as no endpoint, not as those without one.
    expect(levels(written, among)[0]).toEqual(['inventory'])
  })

  it('by region and by other metadata compare with the metadata of this process', () => {
    const among = [
      endpoint('a', { region: 'us', rack: 'r1' }),
      endpoint('a', { region: 'us' }),
      endpoint('a', { region: 'eu', rack: 'r1' }),
      endpoint('a'),
    ]
    const client = { metadata: { region: 'us', rack: 'r1' } }
    const written = [
      { region: 'same' },
      { metadata: { rack: 'same' } },
      { metadata: { rack: 'r1', region: 'eu' } },
      { region: 'any' },
    ] as const
    expect(levels(written, among, { client }).map(([, ...taken]) => taken)).toEqual([[0, 1], [0, 2], [2], [0, 1, 2, 3]])
    expect(levels(written, among).map(([, ...taken]) => taken)).toEqual([[], [], [2], [0, 1, 2, 3]])
  })

  it('take no key of an object’s prototype for metadata', () => {
    const client = { metadata: { region: 'us' } }
    expect(levels([{ metadata: { constructor: 'same' } }, { zone: 'any' }], [endpoint('a')], { client })).toEqual([
      ['inventory'],
      ['inventory', 0],
    ])
  })

  it('divide the endpoints of the target alone', () => {
    const among = [endpoint('a', {}, 'v1'), endpoint('a', {}, 'v2')]
    const target = { subset: { version: 'v2', metadata: [] }, client: { zone: 'a' } }
    expect(levels([{ zone: 'same' }], among, target)).toEqual([['inventory', 1]])
  })

  it('stand behind the target if none of them divides it', () => {
    const among = [endpoint('a', {}, 'v1'), endpoint('a', {}, 'v2')]
    const green: Target = { subset: { version: 'v2', metadata: [] } }
    expect(levels([{ service: 'inventory-eu' }], among)).toEqual([
      ['inventory', 0, 1],
      ['inventory-eu', 0, 1],
    ])
    expect(levels([{ subset: 'blue' }], among, green)).toEqual([
      ['inventory', 1],
      ['inventory', 0],
    ])
    // These divide the service as it is.
    expect(levels([{ subset: 'blue' }, { service: 'inventory' }], among)).toEqual([
      ['inventory', 0],
      ['inventory', 0, 1],
    ])
    expect(levels([{ subset: 'blue' }], among, { owner: others.get('prices')! })).toEqual([
      ['prices', 0, 1],
      ['inventory', 0],
    ])
  })

  it('leave out a service that cannot be watched, and a subset that nobody defines', () => {
    expect(levels([{ zone: 'any' }, { service: 'unknown' }, { service: 'prices' }])).toEqual([
      ['inventory'],
      ['prices'],
    ])
    expect(levels([{ zone: 'any' }, { service: 'prices', subset: 'x' }], [endpoint('a')])[1]).toEqual(['prices'])
  })
})
