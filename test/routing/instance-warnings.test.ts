import { expect, test } from 'vitest'
import { instanceWarnings } from '../../src/routing/instance-warnings.ts'

const DOCUMENT = {
  service: 'shop',
  subsets: { blue: { version: 'v1' }, next: { version: 'v2', metadata: { track: 'next' } } },
  routes: [
    { name: 'a', to: 'blue' },
    {
      name: 'b',
      split: [
        { to: { service: 'eu' }, weight: 1 },
        { to: { service: 'eu', subset: 'blue' }, weight: 1 },
      ],
    },
    { name: 'c', mirror: { to: { service: 'nowhere' } } },
  ],
  failover: [{ zone: 'any' }, { service: 'us' }],
}
const EU = { service: 'eu', subsets: { blue: { version: 'v1' } } }

type Running = Readonly<Record<string, readonly { version?: string; metadata?: Record<string, string> }[]>>

function warnings(running: Running): string[] {
  const found = instanceWarnings(DOCUMENT, {
    document: (service) => (service === 'eu' ? EU : undefined),
    instances: (service) => running[service]?.map(({ version, metadata = {} }) => ({ version, metadata })),
  })
  return found.map(({ path, message }) => `${path.join('.')}: ${message}`)
}

test('subsets and targets that no instance is in are named, each at its place', () => {
  expect(warnings({ shop: [{ version: 'v1' }, { version: 'v2' }], eu: [{ version: 'v2' }], us: [] })).toEqual([
    "subsets.next: no instance of 'shop' is in this subset now",
    "routes.1.split.1.to: no instance of 'eu' is in its subset 'blue' now",
    "routes.2.mirror.to: no service 'nowhere' is known",
    "failover.1: no instance of 'us' runs now",
  ])
})

test('a service that has a document is known, also before its first instance', () => {
  expect(warnings({})).toContain("routes.1.split.0.to: no instance of 'eu' runs now")
})

test('an instance is in a subset that asks for less than it has', () => {
  const running = {
    shop: [{ version: 'v1' }, { version: 'v2', metadata: { track: 'next', zone: 'a' } }],
    eu: [{ version: 'v1' }],
    us: [{}],
    nowhere: [{}],
  }
  expect(warnings(running)).toEqual([])
})
