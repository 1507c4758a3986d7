import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkPolicyDocument } from '../../src/discovery/check-document.ts'
import { type PolicyDocument, policyJsonSchema, resolvePolicy } from '../../src/discovery/policy-document.ts'
import { describeIssue } from '../../src/options/fields.ts'

const FULL: PolicyDocument = {
  service: 'inventory',
  timeout: '800ms',
  idleTimeout: '30s',
  retry: {
    attempts: 3,
    perTryTimeout: '250ms',
    backoff: { base: '25ms', max: '1s' },
    statuses: [503],
    budget: { ratio: 0.2, minPerSecond: 10 },
  },
  circuitBreaker: { errorThreshold: '50%', window: '10s', minimumCalls: 20, resetAfter: '5s' },
  hedge: { after: 'p95', maxExtraLoad: '5%' },
  throttle: { multiplier: 2, maxShare: '75%' },
  ejection: { consecutiveFailures: 5, baseTime: '1s', maxTime: '10s', maxShare: '50%' },
  healthCheck: { interval: '5s', timeout: '1s', path: '/healthz', unhealthyAfter: 3, healthyAfter: 2 },
  balancer: { name: 'ring-hash', key: { header: 'x-user', cookie: 'session', path: true } },
  zone: 'prefer',
  subset: { size: 20 },
  slowStart: '10s',
  transport: 'auto',
  limits: { concurrency: 200, rate: '500/s' },
  faults: [{ delay: '100ms', status: 503, share: '5%', from: 'checkout', headers: { 'x-fault': '1' } }],
  subsets: { blue: { version: 'v1' }, green: { version: 'v2', metadata: { track: 'next' } } },
  routes: [
    { name: 'beta', match: [{ headers: { 'x-beta': '1' } }, { query: { beta: '*' } }], to: 'green' },
    { name: 'eu', match: [{ grpc: 'shop.Inventory/*', from: 'checkout' }], to: { service: 'inventory-eu' } },
  ],
  unmatched: 'service',
  failover: [{ zone: 'same' }, { zone: 'any' }, { service: 'inventory-eu' }],
  overrides: { from: ['gateway'] },
  allow: [
    { from: 'checkout', methods: ['GET'], paths: ['/items/*', '/', '/items/*/stock', '/a%20b'] },
    { from: 'audit', grpc: ['shop.Inventory/*', 'shop.Inventory/Get', 'Inventory/Get'] },
    { from: '*', paths: ['/healthz'] },
  ],
  accessLog: { sample: '5%', slowerThan: '1s', headers: ['x-request-id'], sides: ['client', 'server'] },
}

function mistakes(change: object): string[] {
  return checkPolicyDocument({ service: 'inventory', ...change }).map(describeIssue)
}

describe('checkPolicyDocument', () => {
  it('accepts a document with every key, and one with only its service', () => {
    expect(checkPolicyDocument(FULL)).toEqual([])
    expect(checkPolicyDocument({ service: 'inventory' })).toEqual([])
    expect(checkPolicyDocument({ service: 'mesh', defaultIntention: 'allow' })).toEqual([])
    expect(mistakes({ circuitBreaker: false, ejection: false, allow: [] })).toEqual([])
  })

  it.each([
    [{ timout: '1s' }, "timout: unknown key; did you mean 'timeout'?"],
    [{ retry: { atempts: 3 } }, "retry.atempts: unknown key; did you mean 'attempts'?"],
    [{ retry: { backoff: { bse: 3 } } }, "retry.backoff.bse: unknown key; did you mean 'base'?"],
    [
      { circuitBreaker: { errorTreshold: 1 } },
      "circuitBreaker.errorTreshold: unknown key; did you mean 'errorThreshold'?",
    ],
    [{ ejection: { maxTme: 1 } }, "ejection.maxTme: unknown key; did you mean 'maxTime'?"],
    [{ healthCheck: { intervall: 1 } }, "healthCheck.intervall: unknown key; did you mean 'interval'?"],
    [{ limits: { concurency: 1 } }, "limits.concurency: unknown key; did you mean 'concurrency'?"],
    [{ allow: [{ from: 'a', method: ['GET'] }] }, "allow[0].method: unknown key; did you mean 'methods'?"],
    [{ balancer: 'peak-ewna' }, "did you mean 'peak-ewma'?"],
    [{ balancer: { name: 'ring-hsh' } }, "balancer.name: expected one of 'least-load'"],
    [{ balancer: { name: 'maglev', kye: {} } }, "balancer.kye: unknown key; did you mean 'key'?"],
    [{ balancer: { name: 'maglev', key: { heder: 'x' } } }, "balancer.key.heder: unknown key; did you mean 'header'?"],
    [{ zone: 'prefr' }, "did you mean 'prefer'?"],
    [{ subset: { sise: 3 } }, "subset.sise: unknown key; did you mean 'size'?"],
    [{ allow: [{ from: 'a', methods: ['get'] }] }, "allow[0].methods[0]: expected one of 'GET'"],
  ])('names the nearest valid name: %j', (change, message) => {
    expect(mistakes(change).join('\n')).toContain(message)
  })

  it.each([
    [{ service: 'Inventory' }, 'service: expected a service name'],
    [{ timeout: '25h' }, 'timeout: expected a duration from 1ms to 1d'],
    [{ timeout: 0 }, 'timeout'],
    [{ timeout: null }, 'timeout'],
    [{ retry: { attempts: 1e9 } }, 'retry.attempts: expected a whole number from 1 to 10, got 1000000000'],
    [{ retry: { attempts: -1 } }, 'retry.attempts'],
    [{ retry: { budget: { ratio: -1 } } }, 'retry.budget.ratio'],
    [{ retry: { statuses: [200] } }, 'retry.statuses[0]'],
    [{ circuitBreaker: true }, 'circuitBreaker'],
    [{ circuitBreaker: { errorThreshold: '150%' } }, 'circuitBreaker.errorThreshold'],
    [{ ejection: { maxShare: 2 } }, 'ejection.maxShare'],
    [{ healthCheck: true }, 'healthCheck'],
    [{ healthCheck: { path: 'healthz' } }, "healthCheck.path: expected a path that begins with '/'"],
    [{ healthCheck: { path: '/a b' } }, 'healthCheck.path'],
    [{ healthCheck: { interval: 0 } }, 'healthCheck.interval: expected a duration from 100ms'],
    [{ healthCheck: { unhealthyAfter: 0 } }, 'healthCheck.unhealthyAfter'],
    [{ limits: { concurrency: 0 } }, 'limits.concurrency'],
    [{ limits: { rate: 'fast' } }, 'limits.rate'],
    [{ allow: {} }, 'allow: expected a list'],
    [{ allow: [{}] }, 'allow[0].from: is missing'],
    [{ allow: [{ from: 'check*' }] }, "allow[0].from: expected the name of a calling service, or '*'"],
    [{ allow: [{ from: 'a', methods: [] }] }, 'allow[0].methods: expected a list of 1'],
    [{ allow: [{ from: 'a', grpc: ['shop.Inventory'] }] }, 'allow[0].grpc[0]'],
    [{ allow: [{ from: 'a', grpc: ['shop.*/Get'] }] }, 'allow[0].grpc[0]'],
    [{ allow: [{ from: 'a', grpc: ['//shop.Inventory/Get'] }] }, 'allow[0].grpc[0]'],
  ])('refuses what is out of range or of the wrong kind: %j', (change, message) => {
    const found = mistakes(change)
    expect(found).toHaveLength(1)
    expect(found[0]).toContain(message)
  })

  it.each(['items', '/items*', '/a//b', '/a/../b', '/.', '/a?b=1', '/a#b', '/a b', '/a%2', '', '//', '/ä'])(
    'refuses the path %j, which no request could match as meant',
    (path) => {
      expect(mistakes({ allow: [{ from: 'a', paths: [path] }] })[0]).toContain('allow[0].paths[0]: expected a path')
    },
  )

  it('compares values that are valid alone but not together', () => {
    expect(mistakes({ timeout: '200ms', retry: { perTryTimeout: '1s' } })).toEqual([
      'retry.perTryTimeout: expected at most timeout (200ms), got 1s',
    ])
    expect(mistakes({ retry: { backoff: { base: '2s', max: 100 } } })).toEqual([
      'retry.backoff.base: expected at most retry.backoff.max (100), got 2s',
    ])
    expect(mistakes({ ejection: { baseTime: '20s', maxTime: '10s' } })).toEqual([
      'ejection.baseTime: expected at most ejection.maxTime (10s), got 20s',
    ])
    expect(mistakes({ healthCheck: { interval: '1s', timeout: '2s' } })).toEqual([
      'healthCheck.timeout: expected at most healthCheck.interval (1s), got 2s',
    ])
  })

  it('does not compare a written value with a default', () => {
    expect(mistakes({ timeout: '100ms' })).toEqual([])
    expect(mistakes({ retry: { backoff: { base: '2s' } } })).toEqual([])
  })

  it('takes defaultIntention in the document of mesh only, and not beside a list it contradicts', () => {
    expect(mistakes({ defaultIntention: 'allow' })).toEqual([
      "defaultIntention: is valid in the document of 'mesh' only",
    ])
    expect(mistakes({ service: 'mesh', defaultIntention: 'allow', allow: [{ from: 'a' }] })).toHaveLength(1)
    expect(mistakes({ service: 'mesh', defaultIntention: 'deny', allow: [{ from: 'a' }] })).toEqual([])
  })

  it('lets callers without identity be every caller only, because they do not prove which service they are', () => {
    expect(mistakes({ allow: [{ from: '*', unauthenticated: true }] })).toEqual([])
    expect(mistakes({ allow: [{ from: '*' }, { from: 'checkout', unauthenticated: true }] })).toEqual([
      "allow[1].unauthenticated: is valid with `from: '*'` only: a caller without identity does not prove that it is 'checkout'",
    ])
    expect(mistakes({ allow: [{ from: '*', unauthenticated: false }] })).toHaveLength(1)
  })

  it('names every mistake, not only the first', () => {
    expect(mistakes({ timeout: 'x', retry: { attempts: 0 }, balancer: 'none' })).toHaveLength(3)
  })

  it('refuses keys that reach into prototypes and pollutes none', () => {
    const hostile = JSON.parse(
      '{"service":"a","__proto__":{"polluted":1},"retry":{"__proto__":{"polluted":1}},"constructor":{"prototype":{"polluted":1}}}',
    )
    const paths = checkPolicyDocument(hostile).map(({ path }) => path.join('.'))
    expect(paths).toEqual(expect.arrayContaining(['__proto__', 'retry.__proto__', 'constructor']))
    expect(() => resolvePolicy(hostile, hostile)).toThrow('unknown key')
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })

  it('bounds what it looks at', () => {
    const circular: Record<string, unknown> = { service: 'a' }
    circular.retry = circular
    expect(checkPolicyDocument(circular)[0]?.message).toContain('nested deeper')
    expect(mistakes({ allow: Array.from({ length: 40_000 }, () => ({ from: 'a' })) })[0]).toContain('more than 60000')
    expect(mistakes({ timeout: 'x'.repeat(5_000) })[0]).toContain('5000 characters')
    expect(mistakes({ ['k'.repeat(5_000)]: 1 })[0]!.length).toBeLessThan(100)
    const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`unknown${i}`, 1]))
    expect(mistakes(many).length).toBeLessThanOrEqual(50)
  })

  it('takes anything without throwing, and what it accepts can be resolved', () => {
    const tree = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.jsonValue(),
        fc.constantFrom('1s', '50%', 3, false, null),
        tie('object'),
      ),
      object: fc.dictionary(
        fc.constantFrom(
          'service',
          'timeout',
          'retry',
          'attempts',
          'backoff',
          'base',
          'allow',
          'from',
          '__proto__',
          'limits',
        ),
        tie('value'),
      ),
    }))
    fc.assert(
      fc.property(fc.oneof(tree.value, fc.anything()), (value) => {
        if (checkPolicyDocument(value).length > 0) return
        expect(Object.isFrozen(resolvePolicy(null, value as PolicyDocument))).toBe(true)
      }),
      { numRuns: 500 },
    )
  })
})

describe('resolvePolicy', () => {
  it('gives the defaults when there is no document', () => {
    const policy = resolvePolicy(null, null)
    expect(policy.settings.timeoutMs).toBe(10_000)
    expect(policy.settings.retry.attempts).toBe(3)
    expect(policy).toMatchObject({ allow: [], defaultIntention: 'deny' })
  })

  it('leaves the transport to each process, unless a document names one', () => {
    const transport = (...documents: [object, object]): unknown => {
      const [mesh, service] = documents
      return resolvePolicy({ service: 'mesh', ...mesh }, { service: 'inventory', ...service }).settings.transport
    }
    expect(transport({}, {})).toBeUndefined()
    expect(transport({ transport: 'http1' }, {})).toBe('http1')
    expect(transport({ transport: 'http1' }, { transport: 'auto' })).toBe('auto')
  })

  it('puts the service over the mesh over the defaults, key by key', () => {
    const { settings } = resolvePolicy(
      { service: 'mesh', timeout: '2s', retry: { attempts: 5, budget: { ratio: 0.1 } }, balancer: 'round-robin' },
      { service: 'inventory', retry: { budget: { minPerSecond: 3 } }, balancer: 'least-request' },
    )
    expect(settings.timeoutMs).toBe(2_000)
    expect(settings.retry).toMatchObject({ attempts: 5, budget: { ratio: 0.1, minPerSecond: 3 } })
    expect(settings.retry.statuses).toEqual([429, 502, 503, 504])
    expect(settings.balancer).toBe('least-request')
  })

  it('takes the names of gRPC methods also as errors and metrics have them', () => {
    const allow = [{ from: 'b', grpc: ['/shop.Inventory/Get', '/shop.Inventory/*', 'shop.Inventory/Take'] }]
    const given: PolicyDocument = { service: 'a', allow, retry: { idempotent: ['/shop.Inventory/Get'] } }
    expect(checkPolicyDocument(given)).toEqual([])
    const policy = resolvePolicy(null, given)
    expect(policy.allow[0]!.grpc).toEqual(['shop.Inventory/Get', 'shop.Inventory/*', 'shop.Inventory/Take'])
    expect(policy.settings.retry.idempotent).toEqual(['shop.Inventory/Get'])
  })

  it('replaces lists', () => {
    const mesh: PolicyDocument = { service: 'mesh', allow: [{ from: 'ops' }], retry: { statuses: [500] } }
    expect(resolvePolicy(mesh, { service: 'a' }).allow).toEqual([{ from: 'ops' }])
    const own = resolvePolicy(mesh, { service: 'a', allow: [{ from: 'b' }], retry: { statuses: [] } })
    expect(own.allow).toEqual([{ from: 'b' }])
    expect(own.settings.retry.statuses).toEqual([])
  })

  it('lets a service switch off what the mesh switches on, and the other way round', () => {
    const off = resolvePolicy({ service: 'mesh', ejection: { maxShare: 0.2 } }, { service: 'a', ejection: false })
    expect(off.settings.ejection).toBeUndefined()
    const on = resolvePolicy({ service: 'mesh', ejection: false }, { service: 'a', ejection: { maxShare: 0.2 } })
    expect(on.settings.ejection).toMatchObject({ maxShare: 0.2, consecutiveFailures: 5 })
  })

  it('denies by default, allows by default with dev or when the mesh says so', () => {
    expect(resolvePolicy(null, null, { dev: true }).defaultIntention).toBe('allow')
    expect(resolvePolicy({ service: 'mesh', defaultIntention: 'allow' }, null).defaultIntention).toBe('allow')
    expect(resolvePolicy({ service: 'mesh', defaultIntention: 'deny' }, null, { dev: true }).defaultIntention).toBe(
      'deny',
    )
  })

  it('closes a service that has a list to everybody else, whatever the default', () => {
    const mesh: PolicyDocument = { service: 'mesh', defaultIntention: 'allow' }
    expect(resolvePolicy(mesh, { service: 'a', allow: [{ from: 'b' }] }, { dev: true })).toMatchObject({
      allow: [{ from: 'b' }],
      defaultIntention: 'deny',
    })
    expect(resolvePolicy(mesh, { service: 'a', allow: [] })).toMatchObject({ allow: [], defaultIntention: 'deny' })
  })

  it('makes values of two documents fit that do not fit each other', () => {
    const { settings } = resolvePolicy(
      { service: 'mesh', retry: { perTryTimeout: '2s', backoff: { max: '50ms' } } },
      { service: 'a', timeout: '500ms', retry: { backoff: { base: '100ms' } } },
    )
    expect(settings.retry.perTryTimeoutMs).toBe(500)
    expect(settings.retry.backoff).toEqual({ baseMs: 100, maxMs: 100, leastMs: 0, jitter: 'full' })
  })

  it('is frozen to the last level and leaves the documents as they were', () => {
    const before = JSON.stringify(FULL)
    const policy = resolvePolicy({ service: 'mesh', retry: { attempts: 2 } }, FULL)
    expect(JSON.stringify(FULL)).toBe(before)
    const thawed: unknown[] = []
    const walk = (value: unknown) => {
      if (typeof value !== 'object' || value === null) return
      if (!Object.isFrozen(value)) thawed.push(value)
      Object.values(value).forEach(walk)
    }
    walk(policy)
    expect(thawed).toEqual([])
  })
})

describe('policyJsonSchema', () => {
  it('describes every key and allows no other', () => {
    const schema = policyJsonSchema() as { properties: object; additionalProperties: boolean; required: string[] }
    expect(Object.keys(schema.properties)).toEqual([...Object.keys(FULL), 'defaultIntention', 'tap'])
    expect(schema.additionalProperties).toBe(false)
    expect(schema.required).toEqual(['service'])
  })
})
