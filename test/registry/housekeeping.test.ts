/** What the registry forgets by itself, and what it keeps. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { ServiceHistory } from '../../src/registry/watch/service-history.ts'
import { instance } from '../rigs/instance.ts'
import { request, TestSession } from '../rigs/registry-session.ts'
import { SkippingClock } from '../rigs/skipping-clock.ts'

const LEASE_MS = 20_000

let clock: SkippingClock
let registry: Registry
const sessions: TestSession[] = []

beforeEach(async () => {
  clock = new SkippingClock()
  const options = { port: 0, memory: true, dev: true, log: false, lease: LEASE_MS, joinsPerSecond: 1_000 } as const
  registry = await startRegistry({ ...options, clock })
})

afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  await registry.close()
})

async function open(service: string): Promise<TestSession> {
  const session = await TestSession.open(registry, service)
  sessions.push(session)
  return session
}

async function services(): Promise<string[]> {
  const { json } = await request(registry, 'GET', '/v1/services')
  return json.services.map(({ service }: { service: string }) => service)
}

async function comeAndLeave(service: string): Promise<void> {
  const session = await open(service)
  await session.ask({ type: 'register', instance: instance(service, 'i1') })
  await session.ask({ type: 'deregister', id: 'i1' })
}

/** More looks than it takes until an unused service is forgotten. */
const looks = (): Promise<void> => clock.pass(4 * LEASE_MS, sessions)

test('a service that all have left is forgotten; one with a policy, a watcher, an instance or a loss is not', async () => {
  for (const service of ['preview-1', 'preview-2', 'ruled', 'watched']) await comeAndLeave(service)
  await registry.applyPolicies([{ service: 'ruled', timeout: '3s' }])
  const watcher = await open('caller')
  watcher.send({ type: 'watch', service: 'watched' })
  await watcher.next('snapshot')
  const running = await open('running')
  await running.ask({ type: 'register', instance: instance('running', 'i1') })
  const lost = await open('lost')
  await lost.ask({ type: 'register', instance: instance('lost', 'i1') })
  lost.close()
  await looks()
  await expect.poll(services).toEqual(['lost', 'ruled', 'running', 'watched'])
})

test('a forgotten service that comes back is found, also by a watcher that knew it before', async () => {
  const watcher = await open('caller')
  const owner = await open('preview')
  await owner.ask({ type: 'register', instance: instance('preview', 'i1') })
  watcher.send({ type: 'watch', service: 'preview' })
  const { epoch, revision } = await watcher.next('snapshot')
  watcher.send({ type: 'unwatch', service: 'preview' })
  await owner.ask({ type: 'deregister', id: 'i1' })
  await looks()
  await expect.poll(services).not.toContain('preview')
  await owner.ask({ type: 'register', instance: instance('preview', 'i2') })
  const from = watcher.received.length
  watcher.send({ type: 'watch', service: 'preview', since: { epoch, revision } })
  const snapshot = await watcher.next('snapshot', () => true, from)
  expect(snapshot.instances.map(({ id }) => id)).toEqual(['i2'])
})

test('the history of a forgotten service is nobody’s: a revision from before it is answered by a snapshot', () => {
  const history = new ServiceHistory(0, 2)
  const change = (service: string, revision: number) => ({ service, revision, put: [], gone: [], policy: undefined })
  for (let i = 1; i <= 2; i++) history.keep(change('a', i))
  history.forget('a', 3)
  expect(history.since('a', 2)).toBeUndefined()
  expect(history.since('a', 3)).toEqual([])
  for (let i = 4; i <= 9; i++) history.keep(change(i % 2 === 0 ? 'a' : 'b', i))
  expect(history.since('a', 2)).toBeUndefined()
  expect(history.since('a', 8)).toEqual([])
  // Names are not remembered for ever; then no old revision is believed.
  for (const name of ['x', 'y', 'z']) history.forget(name, 10)
  expect(history.since('never-seen', 9)).toBeUndefined()
})
