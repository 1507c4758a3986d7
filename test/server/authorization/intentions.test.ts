import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AMBIGUOUS, readPath, withPath } from '../../../src/net/request-path.ts'
import type { Decision } from '../../../src/server/authorization/authorizer.ts'
import { compileIntentions, type IntentionAuthorizer } from '../../../src/server/authorization/intentions.ts'

function ask(
  rules: IntentionAuthorizer,
  protocol: 'http' | 'grpc' | 'tcp',
  peer: string | undefined,
  method: string,
  path: string,
): Decision {
  return rules.authorize({ peer, kind: { protocol } }, { method, path })
}

describe('intentions over HTTP', () => {
  const rules = compileIntentions(
    [
      { from: 'checkout', methods: ['GET'], paths: ['/items/*', '/health'] },
      { from: 'audit', paths: ['/items/*/stock'] },
      { from: 'admin' },
      { from: '*', paths: ['/public'] },
      { from: 'stocktaker', grpc: ['shop.Inventory/*', 'shop.Orders/Get'] },
    ],
    'deny',
  )
  const allows = (service: string | undefined, method: string, path: string): boolean =>
    ask(rules, 'http', service, method, path).allowed

  it.each([
    ['checkout', 'GET', '/items/42', true],
    ['checkout', 'GET', '/items/42/stock', true],
    ['checkout', 'GET', '/health', true],
    ['checkout', 'GET', '/items/', false],
    ['checkout', 'GET', '/items', false],
    ['checkout', 'GET', '/health/', false],
    ['checkout', 'POST', '/items/42', false],
    ['checkout', 'HEAD', '/items/42', false],
    ['checkout', 'GET', '/itemsx/42', false],
    ['audit', 'DELETE', '/items/42/stock', true],
    ['audit', 'GET', '/items//stock', false],
    ['audit', 'GET', '/items/1/2/stock', false],
    ['audit', 'GET', '/items/1/stock/2', false],
    ['audit', 'GET', '/items/1/stock/', false],
    ['admin', 'POST', '/anything', true],
    ['admin', 'GET', AMBIGUOUS, true],
    ['checkout', 'GET', AMBIGUOUS, false],
    ['anybody', 'GET', '/public', true],
    ['anybody', 'GET', '/', false],
    [undefined, 'GET', '/public', false],
    ['*', 'GET', '/items/42', false],
    ['__proto__', 'GET', '/items/42', false],
    ['stocktaker', 'POST', '/shop.Inventory/Get', false],
  ] as const)('%s %s %s: %s', (service, method, path, expected) => {
    expect(allows(service, method, path)).toBe(expected)
  })

  it('asks gRPC rules for gRPC and those without any limit for both', () => {
    expect(ask(rules, 'grpc', 'stocktaker', 'POST', '/shop.Inventory/Get').allowed).toBe(true)
    expect(ask(rules, 'grpc', 'stocktaker', 'POST', '/shop.Orders/Get').allowed).toBe(true)
    expect(ask(rules, 'grpc', 'stocktaker', 'POST', '/shop.Orders/List').allowed).toBe(false)
    expect(ask(rules, 'grpc', 'admin', 'POST', '/shop.Orders/List').allowed).toBe(true)
    expect(ask(rules, 'grpc', 'checkout', 'POST', '/health').allowed).toBe(false)
    expect(ask(rules, 'grpc', undefined, 'POST', '/shop.Inventory/Get').allowed).toBe(false)
  })

  it('names the rule', () => {
    expect(ask(rules, 'http', 'audit', 'GET', '/items/1/stock')).toEqual({ allowed: true, rule: 'allow[1]' })
    expect(ask(rules, 'http', 'audit', 'GET', '/')).toEqual({ allowed: false, rule: 'default' })
  })

  it('lets in callers without identity where a rule for all says so, and members with them', () => {
    const edge = compileIntentions(
      [
        { from: '*', unauthenticated: true, methods: ['GET'], paths: ['/shop/*'] },
        { from: '*', paths: ['/inside'] },
      ],
      'deny',
    )
    expect(ask(edge, 'http', undefined, 'GET', '/shop/42')).toEqual({ allowed: true, rule: 'allow[0]' })
    expect(ask(edge, 'http', 'checkout', 'GET', '/shop/42')).toEqual({ allowed: true, rule: 'allow[0]' })
    const refused = [
      ['POST', '/shop/42'],
      ['GET', '/inside'],
      ['GET', AMBIGUOUS],
    ] as const
    for (const [method, path] of refused) expect(ask(edge, 'http', undefined, method, path).allowed).toBe(false)
    expect(ask(edge, 'http', '', 'GET', '/inside').allowed).toBe(true)
    expect(ask(edge, 'grpc', undefined, 'POST', '/shop.Inventory/Get').allowed).toBe(false)
    expect(ask(edge, 'tcp', undefined, 'connect', '').allowed).toBe(false)
    const open = compileIntentions([{ from: '*', unauthenticated: true }], 'deny')
    expect(ask(open, 'http', undefined, 'GET', AMBIGUOUS).allowed).toBe(true)
    expect(ask(open, 'grpc', undefined, 'POST', '/shop.Inventory/Get').allowed).toBe(true)
  })

  it('falls back to the default, which may be allow', () => {
    expect(ask(compileIntentions([], 'allow'), 'http', undefined, 'GET', AMBIGUOUS).allowed).toBe(true)
    expect(ask(compileIntentions([], 'deny'), 'http', 'checkout', 'GET', '/').allowed).toBe(false)
  })

  it('compares a rule with escapes like a request with escapes', () => {
    const escaped = compileIntentions([{ from: 'checkout', paths: ['/caf%c3%a9', '/%61/*'] }], 'deny')
    expect(ask(escaped, 'http', 'checkout', 'GET', readPath('/caf%C3%A9')!).allowed).toBe(true)
    expect(ask(escaped, 'http', 'checkout', 'GET', readPath('/a/%62')!).allowed).toBe(true)
  })

  it('denies whatever bytes a stranger sends, and to a friend everything but what is under its paths', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string().map((rest) => `/items/${rest}`),
      fc
        .array(fc.constantFrom('/', '..', '.', '%2e', '%2F', '%', ';', '\\', 'items', '42', '?', '%00', '//'))
        .map((parts) => `/${parts.join('')}`),
    )
    fc.assert(
      fc.property(text, fc.string(), (target, service) => {
        const path = readPath(target)
        if (path === undefined) return
        expect(ask(rules, 'http', undefined, 'GET', path).allowed).toBe(false)
        if (!['checkout', 'admin', 'audit', 'stocktaker'].includes(service) && path !== '/public') {
          expect(ask(rules, 'http', service, 'GET', path).allowed).toBe(false)
        }
        if (ask(rules, 'http', 'checkout', 'GET', path).allowed && path !== '/public') {
          // What any reader makes of the target stays where the rule says.
          for (const seen of [target, withPath(target, path)]) {
            const { pathname } = new URL(seen, 'http://inventory')
            expect(pathname === '/health' || decodeURIComponent(pathname).startsWith('/items/')).toBe(true)
          }
        }
      }),
      { numRuns: 3_000 },
    )
  })
})

describe('the path of a request', () => {
  it.each([
    ['/', '/'],
    ['/items/42?x=/../y', '/items/42'],
    ['/?', '/'],
    ['/.well-known/x', '/.well-known/x'],
    ['/a.b/..c/...', '/a.b/..c/...'],
    ['/%7Euser/%41', '/~user/A'],
    ['/a%20b/%c3%a9', '/a%20b/%C3%A9'],
    ['/a%252e%252e', '/a%252e%252e'],
    ['/a//b', AMBIGUOUS],
    ['/a;v=1/b', AMBIGUOUS],
    ['/a%3bv=1/b', AMBIGUOUS],
  ])('%s is read as %s', (target, path) => {
    expect(readPath(target)).toBe(path)
  })

  it.each([
    '',
    '*',
    'items',
    '//evil/x',
    'http://evil/x',
    '/a/../b',
    '/a/./b',
    '/..',
    '/a/%2e%2E/b',
    '/a/.%2e',
    '/a%2fb',
    '/a%5cb',
    '/a\\b',
    '/a%00',
    '/a%0a',
    '/a%7f',
    '/a b',
    '/a#b',
    '/a%',
    '/a%4',
    '/a%zz',
    '/a%80',
    '/a%c0%af',
    '/\u00e9',
  ])('%j is refused', (target) => {
    expect(readPath(target)).toBeUndefined()
  })

  it('is the same when read again, and keeps the query', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (rest, query) => {
        const target = `/${rest.replaceAll('?', '')}?${query}`
        const path = readPath(target)
        if (path === undefined || path === AMBIGUOUS) return
        expect(readPath(path)).toBe(path)
        expect(withPath(target, path)).toBe(`${path}?${query}`)
      }),
    )
  })
})

describe('intentions over TCP', () => {
  const rules = compileIntentions(
    [
      { from: 'checkout', tcp: true },
      { from: 'admin' },
      { from: 'reporter', methods: ['GET'], tcp: true },
      { from: 'stocktaker', grpc: ['shop.Inventory/*'] },
    ],
    'deny',
  )
  const allows = (protocol: 'http' | 'grpc' | 'tcp', service: string | undefined): boolean =>
    ask(rules, protocol, service, protocol === 'http' ? 'GET' : 'POST', '/shop.Inventory/Get').allowed

  it('lets in whom a rule names with tcp, and no caller with a rule for everything else', () => {
    expect(allows('tcp', 'checkout')).toBe(true)
    expect(allows('tcp', 'reporter')).toBe(true)
    expect(allows('tcp', 'admin')).toBe(false)
    expect(allows('tcp', 'stocktaker')).toBe(false)
    expect(allows('tcp', 'stranger')).toBe(false)
    expect(allows('tcp', undefined)).toBe(false)
    expect(allows('tcp', '*')).toBe(false)
  })

  it('widens nothing else by tcp', () => {
    expect(allows('http', 'checkout')).toBe(false)
    expect(allows('grpc', 'checkout')).toBe(false)
    expect(allows('http', 'reporter')).toBe(true)
    expect(allows('grpc', 'reporter')).toBe(false)
    expect(allows('http', 'admin') && allows('grpc', 'admin')).toBe(true)
  })

  it('lets in every service of the mesh by a star, and the default decides about the rest', () => {
    const open = compileIntentions([{ from: '*', tcp: true }], 'deny')
    expect(ask(open, 'tcp', 'anybody', 'connect', '').allowed).toBe(true)
    expect(ask(open, 'tcp', undefined, 'connect', '').allowed).toBe(false)
    expect(ask(compileIntentions([], 'allow'), 'tcp', undefined, 'connect', '')).toEqual({
      allowed: true,
      rule: 'default',
    })
  })
})
