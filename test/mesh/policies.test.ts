/**
 * How often a policy is resolved and compiled: with each change of a document, and with no change
 * of an endpoint.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { resolvePolicy } from '../../src/discovery/policy-document.ts'
import { Policies } from '../../src/mesh/policies.ts'
import type { Registry } from '../../src/registry/index.ts'
import { compileServerStack, compileStack } from '../../src/resilience/stack.ts'
import { eventually, Rig } from '../end-to-end/rig.ts'

vi.mock(import('../../src/resilience/stack.ts'), async (original) => {
  const { compileStack, compileServerStack, ...rest } = await original()
  return { ...rest, compileStack: vi.fn(compileStack), compileServerStack: vi.fn(compileServerStack) }
})
vi.mock(import('../../src/discovery/policy-document.ts'), async (original) => {
  const { resolvePolicy, ...rest } = await original()
  return { ...rest, resolvePolicy: vi.fn(resolvePolicy) }
})

const counted = [vi.mocked(resolvePolicy), vi.mocked(compileStack), vi.mocked(compileServerStack)] as const

function counts(): number[] {
  return counted.map(({ mock }) => mock.calls.length)
}

describe('a mesh', () => {
  let rig: Rig
  let registry: Registry

  beforeEach(async () => {
    rig = new Rig()
    registry = await rig.registry()
  })

  afterEach(() => rig.close())

  it('compiles nothing when endpoints change, and each stack once when a document does', async () => {
    await registry.applyPolicies([{ service: 'inventory', timeout: '5s' }])
    const mesh = await rig.mesh(registry, 'inventory')
    const serve = () => mesh.serve((_req, res) => void res.end(), { host: '127.0.0.1' })
    await serve()
    // It calls its own service, so each change concerns what it serves and what it calls.
    await mesh.http('inventory').get('/')
    const known = () => Number(/inmesh_client_endpoints\{[^}]*\} (\d+)/.exec(mesh.metrics())?.[1])
    const before = counts()
    const more = [await serve(), await serve(), await serve()]
    await eventually('four endpoints are known', () => known() === 4)
    for (const server of more) await server.close()
    await eventually('one endpoint is left', () => known() === 1)
    expect(counts()).toEqual(before)

    await registry.applyPolicies([{ service: 'inventory', timeout: '4s' }])
    await eventually('the new policy is in force', () => counts()[0] !== before[0])
    expect(counts()).toEqual(before.map((count) => count + 1))
    expect(vi.mocked(compileStack).mock.lastCall![0].settings.timeoutMs).toBe(4_000)
    await registry.applyPolicies([{ service: 'mesh', retry: { attempts: 2 } }])
    await eventually('the policy of the mesh is in force', () => counts()[0] !== before[0]! + 1)
    expect(counts()).toEqual(before.map((count) => count + 2))
  })
})

describe('policies', () => {
  it('are one object for the same documents, and another for each other pair', () => {
    const documents: Record<string, object | null> = { mesh: { service: 'mesh' }, a: null }
    const policies = new Policies((service) => documents[service] ?? null)
    const first = policies.of('a', false)
    expect(policies.of('a', false)).toBe(first)
    expect(policies.of('a', true).defaultIntention).toBe('allow')
    documents.a = { service: 'a', timeout: '1s' }
    expect(policies.of('a', true).settings.timeoutMs).toBe(1_000)
    documents.mesh = { service: 'mesh', defaultIntention: 'allow' }
    expect(policies.of('a', false).defaultIntention).toBe('allow')
    const last = policies.of('a', false)
    policies.forget('a')
    expect(policies.of('a', false)).not.toBe(last)
    expect(policies.of('a', false)).toEqual(last)
  })
})
