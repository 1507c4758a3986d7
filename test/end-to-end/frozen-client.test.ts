/**
 * A client that freezes, as functions between two events and paused containers do: it finds its
 * services again although every connection, its lease and the instances have changed.
 */
import { createServer } from 'node:http'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { eventually, Rig, wait } from './rig.ts'

const LEASE_MS = 2_000
let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

test('a function joins with its first event, calls on after a freeze beyond its lease, and closes at once', async () => {
  const registry = await rig.registry({ dev: true, memory: true, lease: LEASE_MS })
  const answering = (name: string) =>
    createServer((request, response) => {
      if (request.url !== '/never') response.end(name)
    })
  const first = await rig.mesh(registry, 'inventory')
  await first.serve(answering('first'))

  const client = await rig.start('function', { service: 'report', registry: registry.url })
  const call = async (path: string, timeout?: string) => {
    const from = client.messages.length
    client.tell({ path, ...(timeout !== undefined && { timeout }) })
    return client.message((message) => message.path === path, from)
  }
  expect(await call('/1')).toEqual({ path: '/1', answer: 'first' })

  client.tell({ path: '/never', timeout: '3s' })
  await client.message(({ began }) => began === '/never')
  client.signal('SIGSTOP')
  const stoppedAt = performance.now()
  // The instance that it knows leaves, and another comes.
  const second = await rig.mesh(registry, 'inventory')
  await second.serve(answering('second'))
  await first.close()
  await wait(Math.max(0, stoppedAt + 4 * LEASE_MS - performance.now()))
  client.signal('SIGCONT')

  // Its time has passed, or the instance that left has answered it meanwhile.
  const never = await client.message(({ path }) => path === '/never')
  expect(String(never.code ?? never.answer)).toMatch(/deadline-exceeded|connection-lost|going away/)
  for (let i = 2; i < 12; i++) expect(await call(`/${i}`)).toEqual({ path: `/${i}`, answer: 'second' })
  const from = client.messages.length
  client.tell({})
  const { closedIn } = await client.message(({ closedIn }) => closedIn !== undefined, from)
  expect(closedIn).toBeLessThan(3_000)
  expect(await client.exited).toMatchObject({ code: 0, signal: null })
  await eventually('the process has ended', () => !client.running)
}, 120_000)
