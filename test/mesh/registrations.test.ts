/**
 * What a process does about its instances while the registry cannot write, and when it finds that
 * they were taken off. Over real sockets.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import type { Registry } from '../../src/registry/index.ts'
import { StorageError } from '../../src/registry/storage/errors.ts'
import { MemoryStorage } from '../../src/registry/storage/memory.ts'
import { countOf, eventually, Rig } from '../end-to-end/rig.ts'
import { request } from '../rigs/registry-session.ts'

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  vi.restoreAllMocks()
  await rig.close()
})

const handler = (_request: unknown, response: { end(text: string): void }): void => response.end('ok')
const LOOPBACK = { host: '127.0.0.1', port: 0 }

async function listed(registry: Registry): Promise<{ id: string; state: string }[]> {
  return (await request(registry, 'GET', '/v1/services/inventory', { admin: true })).json.instances ?? []
}

function reasons(mesh: Mesh): unknown[] {
  return mesh.events().flatMap((event) => (event.name === 'instance:unlisted' ? [event.payload.reason] : []))
}

test('a registry that cannot write keeps its sessions; reads go on, and registrations are done when it can', async () => {
  const registry = await rig.registry({ memory: true })
  await registry.applyPolicies([{ service: 'mesh', defaultIntention: 'allow' }])
  const [mesh, stock] = await Promise.all([rig.mesh(registry, 'inventory'), rig.mesh(registry, 'stock')])
  await stock.serve(handler, LOOPBACK)
  const disk = vi.spyOn(MemoryStorage.prototype, 'transact')
  disk.mockRejectedValue(new StorageError('the disk is full'))
  const server = await mesh.serve(handler, LOOPBACK)
  const refused = (): number => countOf(mesh, 'snapshot:rejected')
  await eventually('several tries were refused', () => refused() >= 3)
  // A list that was not watched before.
  expect(await (await mesh.http('stock').get('/')).text()).toBe('ok')
  expect(await listed(registry)).toEqual([])
  disk.mockRestore()
  await eventually('the instance is listed', async () => (await listed(registry)).length === 1)
  const tries = refused()
  expect(countOf(mesh, 'registry:connected')).toBe(1)
  expect(countOf(mesh, 'registry:lost')).toBe(0)
  expect(reasons(mesh)).toEqual([])
  await server.close()
  expect(await listed(registry)).toEqual([])
  expect(refused()).toBe(tries)
})

test('a drain that could not be written is asked again, and seen in the same session', async () => {
  const registry = await rig.registry({ memory: true })
  const mesh = await rig.mesh(registry, 'inventory', { drainNotice: '30s' })
  const server = await mesh.serve(handler, LOOPBACK)
  const disk = vi.spyOn(MemoryStorage.prototype, 'transact')
  disk.mockRejectedValue(new StorageError('the disk is full'))
  const closed = server.close()
  await eventually('the drain was refused', () => countOf(mesh, 'snapshot:rejected') > 0)
  expect(await listed(registry)).toMatchObject([{ state: 'ready' }])
  disk.mockRestore()
  const begun = performance.now()
  await closed
  // The whole notice would pass if it were not seen.
  expect(performance.now() - begun).toBeLessThan(25_000)
  expect(await listed(registry)).toEqual([])
  expect(countOf(mesh, 'registry:lost')).toBe(0)
}, 60_000)

/** A way to the registry that can be cut. */
async function line(to: number): Promise<{ url: string; cut(): void; mend(): void }> {
  const held = new Set<Socket>()
  let open = true
  const server = createServer((socket) => {
    socket.on('error', () => {})
    if (!open) {
      socket.destroy()
      return
    }
    const other = connect(to, '127.0.0.1')
    other.on('error', () => {})
    for (const each of [socket, other]) {
      held.add(each)
      each.once('close', () => {
        held.delete(each)
        ;(each === socket ? other : socket).destroy()
      })
    }
    socket.pipe(other).pipe(socket)
  })
  const cut = (): void => {
    open = false
    for (const socket of held) socket.destroy()
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  rig.onClose(() => {
    cut()
    server.close()
  })
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, cut, mend: () => (open = true) }
}

test('an instance whose lease ended while its process had no session is told as lost, once, and is listed again', async () => {
  const registry = await rig.registry({ memory: true, lease: 900 })
  const way = await line(registry.port)
  const mesh = await rig.mesh(registry, 'inventory', { registry: way.url })
  const { port } = await mesh.serve(handler, LOOPBACK)
  for (let round = 1; round <= 2; round++) {
    way.cut()
    await eventually('it is not listed', async () => (await listed(registry)).length === 0)
    expect(countOf(mesh, 'instance:unlisted')).toBe(round - 1)
    way.mend()
    await eventually('it is told', () => countOf(mesh, 'instance:unlisted') === round)
    await eventually('it is listed again', async () => (await listed(registry)).length === 1)
  }
  expect(new Set(reasons(mesh))).toEqual(new Set(['lost']))
  expect(mesh.events().find(({ name }) => name === 'instance:unlisted')).toMatchObject({
    payload: { endpoint: `127.0.0.1:${port}` },
  })
}, 60_000)

test('an instance that stayed in the list while its session was cut is told as nothing', async () => {
  const registry = await rig.registry({ memory: true })
  const way = await line(registry.port)
  const mesh = await rig.mesh(registry, 'inventory', { registry: way.url })
  await mesh.serve(handler, LOOPBACK)
  way.cut()
  await eventually('the loss is told', () => countOf(mesh, 'registry:lost') === 1)
  way.mend()
  await eventually('there is a session again', () => countOf(mesh, 'registry:connected') === 2)
  // Answered in turn: what was asked before is done.
  await (await mesh.serve(handler, LOOPBACK)).close()
  expect(reasons(mesh)).toEqual([])
}, 60_000)
