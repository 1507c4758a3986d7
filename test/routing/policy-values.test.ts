import { expect, test } from 'vitest'
import { DEFAULT_TRANSPORT } from '../../src/core/transport.ts'
import { type PolicyLayers, policyValues } from '../../src/routing/policy-values.ts'

function values(layers: Partial<PolicyLayers>): Record<string, string> {
  const found = policyValues({ mesh: null, service: null, route: null, ...layers })
  return Object.fromEntries(
    found.map(({ key, value, from, boundBy = '' }) => [key, `${JSON.stringify(value)} ${from} ${boundBy}`.trimEnd()]),
  )
}

test('without documents every value is a default, and a policy that is off is false', () => {
  const found = values({})
  expect(new Set(Object.values(found).map((text) => text.split(' ').at(-1)))).toEqual(new Set(['default']))
  expect(found).toMatchObject({
    timeout: '"10s" default',
    'retry.attempts': '3 default',
    'retry.backoff.base': '"25ms" default',
    'retry.budget.ratio': '0.2 default',
    'circuitBreaker.errorThreshold': '"50%" default',
    hedge: 'false default',
    healthCheck: 'false default',
    balancer: '"least-load" default',
    zone: '"prefer" default',
    subset: 'false default',
  })
})

test('the transport of no document is that of the process', () => {
  expect(values({}).transport).toBe(`"${DEFAULT_TRANSPORT}" default`)
  expect(values({ transport: 'auto' }).transport).toBe('"auto" default')
  expect(values({ transport: 'auto', mesh: { service: 'mesh', transport: 'http1' } }).transport).toBe('"http1" mesh')
})

test('the route wins over the service, the service over the mesh, key by key', () => {
  const found = values({
    mesh: { service: 'mesh', timeout: '2s', retry: { attempts: 5, backoff: { base: '1ms', max: '9ms' } } },
    service: { service: 'inventory', retry: { backoff: { base: '2ms' } }, hedge: {}, circuitBreaker: false },
    route: {
      name: 'items',
      timeout: '300ms',
      retry: { attempts: 2 },
      balancer: { name: 'maglev', key: { path: true } },
    },
  })
  expect(found).toMatchObject({
    timeout: '"300ms" route',
    'retry.attempts': '2 route',
    'retry.backoff.base': '"2ms" service',
    'retry.backoff.max': '"9ms" mesh',
    'retry.backoff.jitter': '"full" default',
    'hedge.maxExtraLoad': '"5%" default',
    circuitBreaker: 'false service',
    'balancer.name': '"maglev" route',
    'balancer.key.path': 'true route',
    zone: '"ignore" default',
  })
  expect(found).not.toHaveProperty(['hedge'])
})

test('a value that is no object replaces the keys below it, and the other way round', () => {
  const off = values({ mesh: { ejection: { baseTime: '2s' } }, service: { ejection: false } })
  expect(Object.keys(off).filter((key) => key.startsWith('ejection'))).toEqual(['ejection'])
  expect(off.ejection).toBe('false service')
  const on = values({ mesh: { ejection: false }, service: { ejection: { baseTime: '2s' } } })
  expect(on).toMatchObject({ 'ejection.baseTime': '"2s" service', 'ejection.maxTime': '"10s" default' })
})

test('values that do not fit each other are shown as they are in force', () => {
  expect(values({ mesh: { retry: { perTryTimeout: '1s' } }, route: { timeout: '300ms' } })).toMatchObject({
    'retry.perTryTimeout': '"300ms" route timeout',
  })
  expect(values({ service: { retry: { backoff: { base: '1s' } } } })).toMatchObject({
    'retry.backoff.max': '"1s" service retry.backoff.base',
  })
})
