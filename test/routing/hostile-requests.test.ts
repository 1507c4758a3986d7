import { describe, expect, it } from 'vitest'
import type { PolicyDocument } from '../../src/discovery/policy-document.ts'
import { resolvePolicy } from '../../src/discovery/policy-document.ts'
import { RouteTable } from '../../src/routing/route-table.ts'

const LONG = 64 * 1024

function table(matches: readonly object[]): RouteTable {
  const routes = matches.map((match, i) => ({ name: `r${i}`, match: [match] }))
  const document = { service: 'inventory', routes } as PolicyDocument
  return new RouteTable(resolvePolicy(null, document).routing!.routes, 'checkout', 'http')
}

function find(routes: RouteTable, path: string, headers = new Map<string, string>()): string | undefined {
  return routes.find({ method: 'GET', path, header: (name) => headers.get(name) })?.name
}

/** 1,000 routes whose templates share as many prefixes as possible. */
const BRANCHING = Array.from({ length: 1_000 }, (_, i) => {
  const segments = Array.from({ length: 10 }, (_unused, bit) => ((i >> bit) & 1 ? '{x}' : 'a'))
  return { path: `/${segments.join('/')}` }
})

describe('hostile requests', () => {
  it.each([
    ['many segments', `/${'a/'.repeat(LONG / 2)}`],
    ['one long segment', `/${'a'.repeat(LONG)}`],
    ['long segments', `/${`${'a'.repeat(LONG / 16)}/`.repeat(16)}`],
    ['slashes', '/'.repeat(LONG)],
    ['dots', '/.'.repeat(LONG / 2)],
    ['dot segments', '/..'.repeat(LONG / 3)],
    ['percents', `/${'%'.repeat(LONG)}`],
    ['escapes', `/${'%61'.repeat(LONG / 3)}`],
    ['escapes of slashes', `/a${'%2F'.repeat(LONG / 3)}`],
    ['a long query', `/a?${'q=1&'.repeat(LONG / 4)}`],
    ['a query of escapes', `/a?${'%71=%31&'.repeat(LONG / 8)}`],
    ['a query of ampersands', `/a?${'&'.repeat(LONG)}`],
    ['lone surrogates', `/\ud800?q=\udc00`],
    ['no slash', '*'],
    ['nothing', ''],
  ])('%s throw nothing and take time in proportion to their length', (_name, path) => {
    const byPath = table(BRANCHING)
    const byQuery = table(Array.from({ length: 500 }, (_, i) => ({ query: { [`q${i}`]: 'x', 'x y': '*' } })))
    const byExpression = table(
      Array.from({ length: 50 }, () => ({ path: { regex: '/(a|aa)*b' }, query: { q: { regex: '(1*)*2' } } })),
    )
    const used = process.cpuUsage()
    for (let i = 0; i < 10; i++) for (const routes of [byPath, byQuery, byExpression]) find(routes, path)
    // Far above what it takes, far below what 64 KB squared would take.
    expect(process.cpuUsage(used).user).toBeLessThan(5_000_000)
  })

  it('find a path of ten segments that a thousand templates match', () => {
    const routes = table(BRANCHING)
    expect(find(routes, `/${'a/'.repeat(9)}a`)).toBe('r0')
    // Only the templates with `{x}` in the fifth place.
    expect(find(routes, '/a/a/a/a/b/a/a/a/a/a')).toBe('r16')
    expect(find(routes, `/${'b/'.repeat(9)}b`)).toBeUndefined()
  })

  it('are no surprise by the names of headers and parameters', () => {
    const names = ['__proto__', 'constructor', 'tostring']
    const routes = table(names.map((name) => JSON.parse(`{"headers":{"${name}":"1"}}`) as object))
    expect(find(routes, '/')).toBeUndefined()
    expect(find(routes, '/', new Map([['constructor', '1']]))).toBe('r1')
    expect(find(routes, '/', new Map([['__proto__', '1']]))).toBe('r0')
    const queries = table(names.map((name) => JSON.parse(`{"query":{"${name}":"*"}}`) as object))
    expect(find(queries, '/')).toBeUndefined()
    expect(find(queries, '/?__proto__')).toBe('r0')
  })

  it('that throw in a header leave the table usable', () => {
    const routes = table([{ headers: { 'x-a': '1' } }, { path: '/items' }])
    const head = {
      method: 'GET',
      path: '/items',
      header: () => {
        throw new Error('broken head')
      },
    }
    expect(() => routes.find(head)).toThrow('broken head')
    expect(find(routes, '/items')).toBe('r1')
  })
})
