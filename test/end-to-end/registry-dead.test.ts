/**
 * The registry is killed with -9 for much longer than its leases: calls are unaffected, and all
 * members reconnect.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Load } from './load.ts'
import { eventually, type Process, Rig, wait } from './rig.ts'

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

const LEASE_MS = 1_000
const ALLOWED = [{ service: 'mesh', defaultIntention: 'allow' }]

interface Started {
  readonly process: Process
  readonly url: string
  readonly port: number
  readonly tokens: Readonly<Record<string, string>>
}

async function startRegistry(port: number, tokens: readonly string[], policies: readonly object[]): Promise<Started> {
  const process = await rig.start('registry', {
    dataDir: rig.path('registry'),
    port,
    lease: LEASE_MS,
    // Longer than the registry is away, also on a machine that makes this test take minutes.
    certificateLife: 600_000,
    tokens: [...tokens],
    policies: [...policies],
  })
  return { process, ...(process.messages[0] as Omit<Started, 'process'> & Record<string, unknown>) }
}

test('a dead registry costs no request, a process starts from its disk, and a hundred clients come back', async () => {
  const first = await startRegistry(0, ['inventory', 'checkout', 'crowd'], ALLOWED)
  const { url, port, tokens } = first
  const server = (name: string): Promise<Process> =>
    rig.start('service', {
      mesh: { service: 'inventory', registry: url, joinToken: tokens.inventory, stateDir: rig.path(name) },
      name,
    })
  const [, , restarted] = await Promise.all(['a', 'b', 'c'].map((name) => server(name)))
  const crowd = await rig.start('crowd', {
    size: 100,
    service: 'inventory',
    mesh: {
      service: 'crowd',
      registry: url,
      joinToken: tokens.crowd,
      stateDir: 'memory',
      joinTimeout: '30s',
      handleSignals: false,
    },
  })
  expect(await crowd.ask('call')).toEqual({ answered: 100 })
  // Ran once, and has left its state on the disk.
  const known = {
    size: 1,
    service: 'inventory',
    mesh: { service: 'crowd', registry: url, joinToken: tokens.crowd, stateDir: rig.path('known'), joinTimeout: '30s' },
  }
  const ranOnce = await rig.start('crowd', known)
  expect(await ranOnce.ask('call')).toEqual({ answered: 1 })
  ranOnce.tell('close')
  expect((await ranOnce.exited).code).toBe(0)

  const client = await rig.join({ service: 'checkout', registry: url, joinToken: tokens.checkout! })
  const inventory = client.http('inventory')
  await (await inventory.get('/')).text()
  const load = new Load(100, async () => {
    const response = await inventory.get('/')
    const name = await response.text()
    if (!response.ok) throw new Error(`status ${response.status}`)
    return name
  })
  rig.onClose(() => load.stop())
  await wait(1_000)

  await first.process.kill()
  const deadAt = performance.now()
  // A rolling restart in the meantime: one leaves in order, and comes again from what it kept on
  // its disk.
  restarted!.signal('SIGTERM')
  expect((await restarted!.exited).code).toBe(0)
  const again = await server('c')
  expect(again.messages[0]).toMatchObject({ stale: true })
  const second = await rig.start('crowd', known)
  expect(second.messages[0]).toEqual({ joined: 1, stale: true })
  expect(await second.ask('call')).toEqual({ answered: 1 })
  await wait(Math.max(0, deadAt + 12 * LEASE_MS - performance.now()))
  expect(await crowd.ask('call')).toEqual({ answered: 100 })
  expect(await crowd.ask('lost')).toEqual({ lost: 100 })

  const back = await startRegistry(port, [], [])
  await eventually(
    '104 clients and servers, and the one of this test are in touch',
    async () => {
      return Number((await back.process.ask('counts')).sessions) === 105
    },
    60_000,
  )
  // A change that only a client which is in touch has heard of.
  const { revision } = await back.process.ask(JSON.stringify([{ service: 'crowd', timeout: '900ms' }]))
  await eventually('all heard of the change', async () => (await crowd.ask(String(revision))).upTo === 100)
  expect(await crowd.ask('call')).toEqual({ answered: 100 })
  await load.stop()
  expect(load.failures).toEqual([])
  expect(load.succeeded).toBeGreaterThan(800)
}, 240_000)

test('without a registry and a disk a process fails clearly; told to start without, it serves and calls when there is one', async () => {
  const first = await startRegistry(0, ['inventory', 'checkout'], ALLOWED)
  const { url, port, tokens } = first
  await first.process.kill()
  const begun = performance.now()
  const checkout = { service: 'checkout', registry: url, joinToken: tokens.checkout! }
  await expect(rig.join({ ...checkout, joinTimeout: '1s' })).rejects.toMatchObject({
    name: 'MeshError',
    code: 'registry-unavailable',
  })
  expect(performance.now() - begun).toBeLessThan(30_000)

  const server = rig.spawn('service', {
    mesh: {
      service: 'inventory',
      registry: url,
      joinToken: tokens.inventory,
      stateDir: rig.path('s'),
      joinTimeout: '300ms',
      startWithoutRegistry: true,
    },
    name: 'late',
  })
  const client = await rig.join({ ...checkout, joinTimeout: '300ms', startWithoutRegistry: true })
  expect(client.stale).toBe(true)
  await expect(client.http('inventory').get('/', { timeout: '300ms' })).rejects.toMatchObject({ sent: false })
  expect(server.messages).toEqual([])

  await startRegistry(port, [], [])
  await server.message(({ name }) => name === 'late')
  await eventually('the call is answered', async () => {
    try {
      return (await (await client.http('inventory').get('/')).text()) === 'late'
    } catch {
      return false
    }
  })
  expect(client.stale).toBe(false)
}, 120_000)
