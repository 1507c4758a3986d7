import { describe, expect, test } from 'vitest'
import { crossIssues } from '../../src/routing/across-documents.ts'

interface Document {
  readonly service: string
  readonly [key: string]: unknown
}

const route = (to: unknown) => ({ routes: [{ name: 'all', to }] })

/** The issues of applying `documents` (`null`: deleting) to what is in force. */
function issues(documents: readonly (Document | string)[], inForce: readonly Document[] = []) {
  const after = new Map<string, object | null>(inForce.map((one) => [one.service, one]))
  const changed = documents.map((one) => (typeof one === 'string' ? one : one.service))
  for (const one of documents)
    after.set(typeof one === 'string' ? one : one.service, typeof one === 'string' ? null : one)
  const found = crossIssues({ changed, of: (service) => after.get(service) ?? null, others: after.keys() })
  return found.map(({ service, path, message }) => `${service} ${path.join('.')}: ${message}`)
}

const EU: Document = { service: 'eu', subsets: { blue: { version: 'v1' }, green: { version: 'v2' } } }

describe("another service's subset", () => {
  test.each([
    ['a target', route({ service: 'eu', subset: 'gren' }), 'routes.0.to'],
    [
      'a split',
      {
        routes: [
          {
            name: 'all',
            split: [
              { to: 'own', weight: 1 },
              { to: { service: 'eu', subset: 'gren' }, weight: 1 },
            ],
          },
        ],
      },
      'routes.0.split.1.to',
    ],
    [
      'a mirror',
      { routes: [{ name: 'all', mirror: { to: { service: 'eu', subset: 'gren' } } }] },
      'routes.0.mirror.to',
    ],
    [
      'one of several mirrors',
      { routes: [{ name: 'all', mirror: [{ to: 'own' }, { to: { service: 'eu', subset: 'gren' } }] }] },
      'routes.0.mirror.1.to',
    ],
    ['a failover level', { failover: [{ zone: 'same' }, { service: 'eu', subset: 'gren' }] }, 'failover.1'],
    [
      "a route's failover level",
      { routes: [{ name: 'all', failover: [{ service: 'eu', subset: 'gren' }] }] },
      'routes.0.failover.0',
    ],
  ])('must be defined: %s', (_, keys, path) => {
    const document = { service: 'shop', ...keys }
    const expected = [`shop ${path}: there is no subset 'gren' of 'eu'; did you mean 'green'?`]
    expect(issues([document], [EU])).toEqual(expected)
    expect(issues([document, EU])).toEqual(expected)
    expect(issues([JSON.parse(JSON.stringify(document).replaceAll('gren', 'green'))], [EU])).toEqual([])
  })

  test('does not exist without a document', () => {
    expect(issues([{ service: 'shop', ...route({ service: 'eu', subset: 'green' }) }])).toEqual([
      "shop routes.0.to: there is no subset 'green' of 'eu', which has no document",
    ])
  })

  test('names the valid ones', () => {
    const [found] = issues([{ service: 'shop', ...route({ service: 'eu', subset: 'canary' }) }], [EU])
    expect(found).toContain('; valid are blue, green')
    const without = issues([{ service: 'shop', ...route({ service: 'eu', subset: 'canary' }) }], [{ service: 'eu' }])
    expect(without[0]).toContain('; it defines none')
  })

  test('is not taken away while another document in force names it', () => {
    const shop = { service: 'shop', ...route({ service: 'eu', subset: 'green' }) }
    expect(issues([{ service: 'eu', subsets: { blue: { version: 'v1' } } }], [shop, EU])).toEqual([
      "eu subsets: does not define 'green', but shop (routes[0].to) in force sends to its subset 'green'",
    ])
    expect(issues(['eu'], [shop, EU])).toEqual(["eu : shop (routes[0].to) in force sends to its subset 'green'"])
    // Both in one apply.
    expect(issues(['eu', { service: 'shop' }], [shop, EU])).toEqual([])
  })
})

describe('routes that lead back', () => {
  test('are refused, and the message shows the way', () => {
    expect(
      issues([{ service: 'a', ...route({ service: 'b' }) }], [{ service: 'b', ...route({ service: 'a' }) }]),
    ).toEqual([
      "a routes.0.to: leads back to 'a': a (routes[0].to) -> b (routes[0].to) -> a; a target may not route to the service that sends to it",
    ])
  })

  test('are one mistake, over any number of documents and kinds of target', () => {
    const documents = [
      { service: 'a', ...route({ service: 'b' }) },
      {
        service: 'b',
        routes: [
          {
            name: 'x',
            split: [
              { to: { service: 'c' }, weight: 0 },
              { to: { service: 'd' }, weight: 1 },
            ],
          },
        ],
      },
      { service: 'c', routes: [{ name: 'x', mirror: { to: { service: 'a' } } }] },
    ]
    const found = issues(documents)
    expect(found).toEqual([
      expect.stringContaining('a (routes[0].to) -> b (routes[0].split[0].to) -> c (routes[0].mirror.to) -> a'),
    ])
    for (const last of documents) {
      const others = documents.filter((one) => one !== last)
      expect(issues(others)).toEqual([])
      expect(issues([last], others)).toEqual([expect.stringContaining(`leads back to '${last.service}'`)])
    }
  })

  test('are judged only where the change concerns them', () => {
    const cycle = [
      { service: 'a', ...route({ service: 'b' }) },
      { service: 'b', ...route({ service: 'a' }) },
    ]
    expect(issues([{ service: 'other', ...route({ service: 'a' }) }], cycle)).toEqual([])
    expect(issues(['a'], cycle)).toEqual([])
  })

  test('are none if a service stands among its targets, or two stand in for each other', () => {
    const document = {
      service: 'a',
      routes: [
        {
          name: 'x',
          split: [
            { to: { service: 'a' }, weight: 9 },
            { to: 'eu', weight: 1 },
          ],
        },
      ],
    }
    expect(issues([document])).toEqual([])
    expect(
      issues([
        { service: 'a', failover: [{ zone: 'any' }, { service: 'b' }] },
        { service: 'b', failover: [{ zone: 'any' }, { service: 'a' }] },
      ]),
    ).toEqual([])
  })

  test('are found among thousands of documents at once', () => {
    const chain = Array.from({ length: 3_000 }, (_, i) => ({ service: `s${i}`, ...route({ service: `s${i + 1}` }) }))
    expect(issues(chain.slice(0, 300), chain.slice(300))).toEqual([])
    expect(issues([{ service: 's3000', ...route({ service: 's0' }) }], chain)).toHaveLength(1)
  })
})
