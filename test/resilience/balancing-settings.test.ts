import { describe, expect, it } from 'vitest'
import { checkPolicyDocument } from '../../src/discovery/check-document.ts'
import { resolvePolicy } from '../../src/discovery/policy-document.ts'
import { describeIssue } from '../../src/options/fields.ts'
import type { BalancerName, BalancerOptions } from '../../src/resilience/balancing-settings.ts'
import { SERVICE } from '../../src/resilience/settings.ts'

describe('balancing settings', () => {
  it('are the same by name alone and as an object', () => {
    expect(SERVICE.resolve({ balancer: 'maglev' })).toEqual(SERVICE.resolve({ balancer: { name: 'maglev' } }))
    expect(SERVICE.resolve()).toMatchObject({
      balancer: 'least-load',
      hashKey: undefined,
      zone: 'prefer',
      subsetSize: undefined,
      slowStartMs: 0,
    })
  })

  it('know headers in any case, and take a key only where it is used', () => {
    const key = { header: 'X-User' }
    expect(SERVICE.resolve({ balancer: { name: 'ring-hash', key } }).hashKey).toEqual({
      header: 'x-user',
      cookie: undefined,
      path: false,
    })
    expect(SERVICE.resolve({ balancer: { name: 'peak-ewma', key } }).hashKey).toBeUndefined()
  })

  it('use reported weights where they are asked for, with the balancer that has weights', () => {
    const reported = (balancer: BalancerOptions | BalancerName) => SERVICE.resolve({ balancer }).reportedWeights
    expect(reported({ name: 'weighted-round-robin', weights: 'reported' })).toBe(true)
    expect(reported({ name: 'weighted-round-robin', weights: 'registered' })).toBe(false)
    expect(reported('weighted-round-robin')).toBe(false)
    // As what a service writes over the document of the mesh may leave it.
    expect(reported({ name: 'maglev', weights: 'reported' })).toBe(false)
  })

  it('do not tear keys apart by zones unless told to', () => {
    expect(SERVICE.resolve({ balancer: 'ring-hash' }).zone).toBe('ignore')
    expect(SERVICE.resolve({ balancer: 'ring-hash', zone: 'prefer' }).zone).toBe('prefer')
    expect(SERVICE.resolve({ zone: 'ignore' }).zone).toBe('ignore')
  })

  it('read subsets and slow start, and false for neither', () => {
    expect(SERVICE.resolve({ subset: { size: 20 }, slowStart: '10s' })).toMatchObject({
      subsetSize: 20,
      slowStartMs: 10_000,
    })
    expect(SERVICE.resolve({ subset: false, slowStart: false })).toEqual(SERVICE.resolve())
  })

  it('never contradict each other after a merge of two right documents', () => {
    const mesh = {
      service: 'mesh',
      balancer: { name: 'ring-hash', key: { header: 'x-user' } },
      subset: { size: 5 },
    } as const
    for (const over of [
      { balancer: 'round-robin' },
      { balancer: { name: 'peak-ewma' } },
      { balancer: { name: 'maglev', key: { cookie: 'sid' } } },
      { subset: false, slowStart: '1s' },
    ] as const) {
      const document = { service: 'inventory', ...over }
      expect(checkPolicyDocument(document)).toEqual([])
      expect(() => resolvePolicy(mesh, document)).not.toThrow()
    }
    const merged = resolvePolicy(mesh, { service: 'inventory', balancer: { name: 'maglev', key: { cookie: 'sid' } } })
    expect(merged.settings.hashKey).toEqual({ header: 'x-user', cookie: 'sid', path: false })
  })

  it.each([
    [
      { balancer: { name: 'ring-hash', key: {} } },
      'balancer.key: is empty; expected at least one of header, cookie, path',
    ],
    [{ balancer: { key: { header: 'x' } } }, 'balancer.name: is missing'],
    [{ balancer: { name: 'round-robin', key: { path: true } } }, "balancer.key: is not used by 'round-robin'"],
    [
      { balancer: { name: 'least-load', weights: 'reported' } },
      "balancer.weights: is not used by 'least-load', only by 'weighted-round-robin'",
    ],
    [
      { balancer: { name: 'weighted-round-robin', weights: 'orca' } },
      "balancer.weights: expected one of 'registered', 'reported', got \"orca\"",
    ],
    [
      { balancer: { name: 'maglev', key: { header: 'x y' } } },
      'balancer.key.header: expected the name of a request header',
    ],
    [{ balancer: { name: 'maglev', key: { path: false } } }, 'balancer.key.path: expected true'],
    [{ balancer: 7 }, 'balancer: expected one of'],
    [{ subset: { size: 0 } }, 'subset.size: expected a whole number from 1'],
    [{ slowStart: '0s' }, 'slowStart: expected a duration'],
    [{ zone: true }, "zone: expected one of 'prefer', 'ignore'"],
  ])('name the mistake: %j', (change, message) => {
    const issues = checkPolicyDocument({ service: 'inventory', ...change }).map(describeIssue)
    expect(issues.join('\n')).toContain(message)
  })
})
