/**
 * Processes join with a token from a function or a file, with the state on disk, and over several
 * addresses of which most are wrong.
 */
import { once } from 'node:events'
import { renameSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createSecureServer } from 'node:tls'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Registry } from '../../src/registry/index.ts'
import type { TokenRecord } from '../../src/registry/records.ts'
import { craftLeaf, newAuthority } from '../rigs/certificates.ts'
import { deadPort } from '../rigs/dead-port.ts'
import { freePort } from '../rigs/free-ports.ts'
import { request } from '../rigs/registry-session.ts'
import { ScriptedRegistry } from '../rigs/scripted-registry.ts'
import { countOf, eventually, Rig, wait } from './rig.ts'

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

const inventoryOf = (registry: Registry, name = 'state') => ({
  service: 'inventory',
  registry: registry.url,
  stateDir: rig.path(name),
})

test('a function is asked for one token when a process joins, and for none when its certificate is on disk', async () => {
  const registry = await rig.registry()
  const joinToken = vi.fn(() => registry.createJoinToken({ service: 'inventory', uses: 1 }))
  const first = await rig.join({ ...inventoryOf(registry), joinToken })
  expect(joinToken).toHaveBeenCalledTimes(1)
  await first.close()
  const second = await rig.join({ ...inventoryOf(registry), joinToken })
  expect(second.stale).toBe(false)
  expect(joinToken).toHaveBeenCalledTimes(1)
  await second.close()
  // Another registry at the same address: what is on disk is of no use there.
  await registry.close()
  const next = await rig.registry({ port: registry.port })
  const other = vi.fn(() => next.createJoinToken({ service: 'inventory', uses: 1 }))
  const third = await rig.join({ ...inventoryOf(next), joinToken: other })
  expect(third.stale).toBe(false)
  expect(other).toHaveBeenCalledTimes(1)
}, 60_000)

test('a function is asked once while no registry can be reached, however often joining is tried', async () => {
  const registry = await rig.registry({ dataDir: rig.path('registry') })
  const token = await registry.createJoinToken({ service: 'inventory', uses: 1 })
  await registry.close()
  const joinToken = vi.fn(() => token)
  const joining = rig.join({ ...inventoryOf(registry), joinToken })
  await eventually('the function was asked', () => joinToken.mock.calls.length === 1)
  // Long enough for several tries.
  await wait(1_500)
  await rig.registry({ dataDir: rig.path('registry'), port: registry.port })
  expect((await joining).stale).toBe(false)
  expect(joinToken).toHaveBeenCalledTimes(1)
}, 60_000)

test('a function that never answers ends the join at its time, with an error that names it', async () => {
  const registry = await rig.registry()
  const joinToken = (): Promise<string> => new Promise(() => {})
  await expect(rig.join({ ...inventoryOf(registry), joinToken, joinTimeout: '2s' })).rejects.toMatchObject({
    code: 'join-refused',
    message: expect.stringMatching(/function 'joinToken' cannot be had: it gave none within \d+ ms/),
  })
})

test('a token file that comes late, and half written at first, is waited for', async () => {
  const registry = await rig.registry()
  const joinTokenFile = rig.path('token')
  const process = rig.spawn('service', {
    mesh: { ...inventoryOf(registry), joinTokenFile, joinTimeout: '60s' },
    name: 'late',
  })
  const token = await registry.createJoinToken({ service: 'inventory', uses: 1 })
  await wait(500)
  writeFileSync(joinTokenFile, token.slice(0, 20))
  await wait(500)
  expect(process.messages).toEqual([])
  writeFileSync(joinTokenFile, token)
  expect(await process.message(() => true)).toMatchObject({ name: 'late', stale: false })
}, 120_000)

test('a process that stood still until its certificate had ended joins again with the token that its file has by then', async () => {
  const registry = await rig.registry({ certificateLife: 6_000, lease: 1_000 })
  await registry.applyPolicies([{ service: 'mesh', defaultIntention: 'allow' }])
  const joinTokenFile = rig.path('token')
  const renew = async (): Promise<void> => {
    const token = await registry.createJoinToken({ service: 'inventory', uses: 1 })
    writeFileSync(`${joinTokenFile}.new`, token, { mode: 0o600 })
    renameSync(`${joinTokenFile}.new`, joinTokenFile)
  }
  await renew()
  const process = await rig.start('service', { mesh: { ...inventoryOf(registry), joinTokenFile }, name: 'sleeper' })
  // It may have to join again as well, on a machine that stops for a while.
  const clientToken = await registry.createJoinToken({ service: 'checkout', uses: 100 })
  const client = await rig.mesh(registry, 'checkout', { joinToken: clientToken })
  const answer = (): Promise<string> =>
    client
      .http('inventory')
      .get('/', { timeout: '1s' })
      .then(
        (response) => response.text(),
        () => 'nothing',
      )
  await eventually('it serves', async () => (await answer()) === 'sleeper')
  process.signal('SIGSTOP')
  await wait(7_000)
  await renew()
  process.signal('SIGCONT')
  await eventually('it serves again', async () => (await answer()) === 'sleeper')
  const { tokens } = (await request(registry, 'GET', '/v1/tokens', { admin: true })).json
  const left = tokens.flatMap((one: TokenRecord) => (one.service === 'inventory' ? [one.usesLeft] : []))
  expect(left).toEqual([0, 0])
}, 120_000)

test('a process with a certificate on disk and no snapshot starts while the registry is away, and denies every caller', async () => {
  const registry = await rig.registry({ dataDir: rig.path('registry') })
  await registry.applyPolicies([{ service: 'mesh', defaultIntention: 'allow' }])
  const joinToken = await registry.createJoinToken({ service: 'inventory' })
  const port = await freePort()
  const killed = await rig.start('service', {
    mesh: { ...inventoryOf(registry), joinToken },
    name: 'ok',
    serve: { port },
  })
  const client = await rig.mesh(registry, 'checkout')
  expect(await (await client.http('inventory').get('/')).text()).toBe('ok')
  await killed.kill()
  await registry.close()
  writeFileSync(rig.path('state/snapshot.json'), '{"format":2,"roots":["of another registry"],"views":[]}')

  const warnings: { code?: string; message: string }[] = []
  const note = (warning: Error): unknown => warnings.push(warning)
  process.on('warning', note)
  rig.onClose(() => process.off('warning', note))
  const mesh = await rig.join({ ...inventoryOf(registry), joinTimeout: '500ms' })
  expect(mesh.stale).toBe(true)
  const warned = () => warnings.filter(({ code }) => code === 'INMESH_NO_REGISTRY').map(({ message }) => message)
  const starts = `no registry answers (${registry.url}): this process starts with what is on disk`
  await expect.poll(warned).toContain(starts)
  expect(mesh.events().find(({ name }) => name === 'snapshot:rejected')).toBeDefined()
  await mesh.serve((_req, res) => res.end('ok'), { host: '127.0.0.1', port })
  const denied = await client.http('inventory').get('/')
  expect(denied.status).toBe(403)
  await denied.text()
  await expect(mesh.http('checkout').get('/', { timeout: '300ms' })).rejects.toMatchObject({ sent: false })

  await rig.registry({ dataDir: rig.path('registry'), port: registry.port })
  await eventually('it is a member again', () => !mesh.stale)
  const back = expect.stringMatching(/^a registry answers again, after \d+ s$/)
  await expect.poll(warned).toEqual(expect.arrayContaining([back]))
  await eventually('the caller is let in', async () => {
    const response = await client.http('inventory').get('/')
    await response.text()
    return response.ok
  })
}, 120_000)

interface Wrong {
  readonly url: string
  connections: number
}

async function wrong(server: Server, onConnection: (socket: Socket) => void = () => {}): Promise<Wrong> {
  const held = new Set<Socket>()
  const found = { url: '', connections: 0 }
  server.on('connection', (socket: Socket) => {
    found.connections += 1
    held.add(socket)
    socket.on('error', () => {})
    onConnection(socket)
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  rig.onClose(() => {
    for (const socket of held) socket.destroy()
    server.close()
  })
  found.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  return found
}

async function wrongAddresses(): Promise<Record<'silent' | 'refusing' | 'plain' | 'stranger', Wrong>> {
  return {
    silent: await wrong(createServer()),
    refusing: { url: `https://127.0.0.1:${await deadPort()}`, connections: 0 },
    plain: await wrong(createServer(), (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
    // Speaks TLS, with a certificate of another authority, and no HTTP.
    stranger: await wrong(
      createSecureServer(craftLeaf(newAuthority(), { uris: ['spiffe://evil.test/inmesh/registry'] }), (socket) =>
        socket.on('error', () => {}),
      ),
    ),
  }
}

test('among a silent, a refusing, a plaintext and a foreign address the registry is found, and asked first from then on', async () => {
  const registry = await rig.registry()
  const { silent, refusing, plain, stranger } = await wrongAddresses()
  const joinToken = vi.fn(() => registry.createJoinToken({ service: 'inventory', uses: 1 }))
  const mesh = await rig.join({
    ...inventoryOf(registry),
    registry: [silent.url, refusing.url, plain.url, stranger.url, registry.url],
    joinToken,
  })
  expect(mesh.stale).toBe(false)
  expect(joinToken).toHaveBeenCalledTimes(1)
  const asked = (): number => silent.connections + plain.connections + stranger.connections
  let audience = 0
  const others = async (): Promise<number> => {
    const before = asked()
    await mesh.token({ audience: `a${audience++}` })
    return asked() - before
  }
  // On a busy machine the registry may take so long to answer that another is asked as well.
  await expect.poll(others, { timeout: 30_000 }).toBe(0)
}, 60_000)

test('a session that was lost is found again beside an address that is silent', async () => {
  const registry = await rig.registry({ dataDir: rig.path('registry') })
  const { silent } = await wrongAddresses()
  const joinToken = await registry.createJoinToken({ service: 'inventory' })
  const mesh = await rig.join({ ...inventoryOf(registry), registry: [silent.url, registry.url], joinToken })
  await registry.close()
  await eventually('the loss is told', () => countOf(mesh, 'registry:lost') > 0)
  await rig.registry({ dataDir: rig.path('registry'), port: registry.port })
  await eventually('there is a session again', () => countOf(mesh, 'registry:connected') === 2)
}, 60_000)

test('the search for a registry goes on until joinTimeout ends', async () => {
  const begun = performance.now()
  const joining = rig.join({ service: 'inventory', registry: 'https://127.0.0.1:1', joinTimeout: '1s' })
  await expect(joining).rejects.toMatchObject({ code: 'registry-unavailable', elapsedMs: 1_000 })
  // The last pause before it is not longer than what is left.
  expect(performance.now() - begun).toBeGreaterThan(850)
})

test('a registry that greets and sends no snapshot is named when joinTimeout ends', async () => {
  const registry = await new ScriptedRegistry().listen()
  rig.onClose(() => registry.close())
  registry.snapshotOf = () => ({ type: 'quiet' }) as never
  const joining = rig.join({ service: 'inventory', registry: registry.url, joinTimeout: '3s', stateDir: 'memory' })
  await expect(joining).rejects.toMatchObject({
    ...{ code: 'registry-unavailable', elapsedMs: 3_000 },
    message: `not joined within joinTimeout (3s), no registry of ${registry.url} sent a snapshot`,
  })
})

test('joinTimeout bounds the search over all addresses, of which none is a registry', async () => {
  const registry = await rig.registry()
  const { silent, refusing, plain, stranger } = await wrongAddresses()
  const joinToken = await registry.createJoinToken({ service: 'inventory' })
  const begun = performance.now()
  await expect(
    rig.join({
      ...inventoryOf(registry),
      registry: [silent.url, refusing.url, plain.url, stranger.url, silent.url, silent.url],
      joinToken,
      joinTimeout: '1s',
    }),
  ).rejects.toMatchObject({
    ...{ name: 'MeshError', code: 'registry-unavailable' },
    // Its steps had only what was left of that.
    message: expect.stringMatching(/^not joined within joinTimeout \(1s\), while (?:asking|looking) for /),
  })
  // Five seconds for each of three silent ones would be 15.
  expect(performance.now() - begun).toBeLessThan(12_000)
}, 60_000)
