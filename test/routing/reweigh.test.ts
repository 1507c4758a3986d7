import { describe, expect, test } from 'vitest'
import { splitRoute, switchRoutes } from '../../src/routing/reweigh.ts'

const DOCUMENT = {
  service: 'inventory',
  timeout: '1s',
  routes: [
    { name: 'beta', to: 'green' },
    {
      name: 'item-pages',
      split: [
        { to: 'blue', weight: 90 },
        { to: 'green', weight: 10, headers: { request: { set: { a: 'b' } } } },
      ],
    },
    {
      name: 'quotes',
      split: [
        { to: { subset: 'green' }, weight: 1 },
        { to: { service: 'inventory-eu' }, weight: 1 },
        { to: { service: 'inventory-eu', subset: 'blue' }, weight: 2 },
      ],
    },
  ],
}

describe('a split', () => {
  test('changes the weights of one route and nothing else', () => {
    const { document, routes } = splitRoute(DOCUMENT, 'item-pages', { green: 25 })
    expect(routes).toEqual([{ route: 'item-pages', before: { blue: 90, green: 10 }, after: { blue: 75, green: 25 } }])
    const expected = structuredClone(DOCUMENT)
    expected.routes[1]!.split![0]!.weight = 75
    expected.routes[1]!.split![1]!.weight = 25
    expect(document).toEqual(expected)
  })

  test('names targets as documents and metrics do', () => {
    const { routes } = splitRoute(DOCUMENT, 'quotes', { 'service:inventory-eu/blue': 25 })
    expect(routes[0]!.after).toEqual({ green: 375, 'service:inventory-eu': 375, 'service:inventory-eu/blue': 250 })
  })

  test.each([
    ['itempages', { green: 1 }, "route: there is no route 'itempages'; did you mean 'item-pages'?"],
    ['zzz', { green: 1 }, 'valid are item-pages, quotes'],
    ['beta', { green: 1 }, "route: 'beta' has no split"],
    [
      'shop/items',
      { green: 1 },
      "'shop/items' comes from a Gateway manifest; change the weights of its backendRefs there",
    ],
    ['item-pages', { gren: 1 }, "shares.gren: no target of route 'item-pages'; did you mean 'green'?"],
    ['item-pages', { red: 1 }, 'valid are blue, green'],
    ['item-pages', { green: -1 }, 'shares.green: expected a share from 0 to 100 percent'],
    ['item-pages', { green: 1.234 }, 'at most two decimals, got 1.234'],
    ['item-pages', { green: 60, blue: 60 }, 'shares: the shares are 120% together'],
    ['item-pages', { green: 60, blue: 30 }, 'shares: the shares of all targets are 90% together'],
  ])('of %s to %j is refused with a hint', (route, shares, hint) => {
    expect(() => splitRoute(DOCUMENT, route, shares)).toThrow(hint)
  })

  test('of targets without weight names those whose shares are missing', () => {
    const { document } = splitRoute(DOCUMENT, 'quotes', { green: 100 })
    expect(() => splitRoute(document, 'quotes', { green: 90 })).toThrow(
      'give their shares too (service:inventory-eu, service:inventory-eu/blue)',
    )
  })
})

describe('a switch', () => {
  test('gives all to one target, in each split that has it', () => {
    const { document, routes } = switchRoutes(DOCUMENT, 'green')
    expect(routes.map(({ route, after }) => [route, after])).toEqual([
      ['item-pages', { blue: 0, green: 100 }],
      ['quotes', { green: 100, 'service:inventory-eu': 0, 'service:inventory-eu/blue': 0 }],
    ])
    expect(document.routes[0]).toEqual({ name: 'beta', to: 'green' })
  })

  test('concerns one route if it is named', () => {
    expect(switchRoutes(DOCUMENT, 'green', 'item-pages').routes).toHaveLength(1)
  })

  test.each([
    ['gren', undefined, "target: 'gren' is in no split of this service; did you mean 'green'?"],
    ['blue', 'quotes', "target: 'blue' is no target of route 'quotes'"],
    ['green', 'beta', "route: 'beta' has no split"],
    ['green', 'nowhere', "route: there is no route 'nowhere'"],
  ])('to %s of route %s is refused with a hint', (target, route, hint) => {
    expect(() => switchRoutes(DOCUMENT, target, route)).toThrow(hint)
  })

  test('of a service without a split says how to get one', () => {
    expect(() => switchRoutes({ service: 'stock' }, 'green')).toThrow("no route of 'stock' has a split")
  })
})
