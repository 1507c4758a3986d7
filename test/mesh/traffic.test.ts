/** Processes report their calls to a registry that asks, over real connections of every kind. */
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { readTraffic, type TrafficMessage, type TrafficSeries } from '../../src/discovery/traffic/message.ts'
import type { Mesh, MeshOptions } from '../../src/index.ts'
import { guard } from '../../src/resilience/index.ts'
import { QUICK, Rig } from '../end-to-end/rig.ts'
import { ScriptedRegistry } from '../rigs/scripted-registry.ts'
import { Shop, shopServer } from '../rigs/shop.ts'
import { echo } from '../rigs/tcp-target.ts'

const LOOPBACK = { host: '127.0.0.1', port: 0 }

let rig: Rig
let registry: ScriptedRegistry

beforeEach(async () => {
  rig = new Rig()
  registry = await new ScriptedRegistry().listen()
  rig.onClose(() => registry.close())
  registry.greeting.traffic = { everyMs: 100 }
})

afterEach(() => rig.close())

const join = (service: string, options: Partial<MeshOptions> = {}): Promise<Mesh> =>
  rig.join({ service, registry: registry.url, ...QUICK, ...options })

function reportsOf(service: string): TrafficMessage[] {
  return registry.heard.flatMap(({ service: of, message }) =>
    of === service && message.type === 'traffic' ? [readTraffic({ ...message })] : [],
  )
}

/** All series of a service whose fields are those of `like`, and their calls. */
function sum(service: string, like: TrafficSeries): number {
  return reportsOf(service)
    .flatMap(({ series }) => series)
    .filter((series) => Object.entries(like).every(([key, value]) => series[key as 'to'] === value))
    .reduce((all, { calls = 0 }) => all + calls, 0)
}

const told = (service: string, like: TrafficSeries) => expect.poll(() => sum(service, like), { timeout: 20_000 })
const get = async (mesh: Mesh, path = '/'): Promise<string> => (await mesh.http('inventory').get(path)).text()

describe('a process', () => {
  it('reports calls of every kind, and no guarded function', async () => {
    const inventory = await join('inventory', { version: 'v2', zone: 'a' })
    const sockets = new WebSocketServer({ noServer: true })
    await inventory.serve((_request, response) => response.end('hello'), {
      ...LOOPBACK,
      onUpgrade: (request, socket, head) => sockets.handleUpgrade(request, socket, head, (one) => one.send('hi')),
    })
    await inventory.serveGrpc(shopServer({ Get: (_call, answer) => answer(null, { sku: 'a' }) }), LOOPBACK)
    await inventory.listen('inventory', echo, LOOPBACK)
    const checkout = await join('checkout')
    const to = { to: 'inventory', version: 'v2', zone: 'a', tls: true } as const

    for (let i = 0; i < 7; i++) await get(checkout)
    await told('checkout', { ...to, protocol: 'http', method: 'GET' }).toBe(7)
    const timed = reportsOf('checkout').flatMap(({ series }) => series.filter(({ ms }) => ms !== undefined))
    expect(timed.length).toBeGreaterThan(0)

    await checkout.grpc(Shop, 'inventory').promises.get({ sku: 'a' })
    await told('checkout', { ...to, protocol: 'grpc' }).toBe(1)

    const socket = checkout.connect('inventory')
    socket.end('hello')
    expect(await text(socket)).toBe('hello')
    await told('checkout', { ...to, protocol: 'tcp', method: 'connect' }).toBe(1)

    const room = checkout.webSocket('inventory', '/rooms')
    await once(room, 'message')
    await expect
      .poll(() => reportsOf('checkout').some(({ series }) => series.some(({ inFlight }) => inFlight === 1)))
      .toBe(true)
    room.close()
    await told('checkout', { to: 'inventory', protocol: 'http' }).toBe(8)

    await guard(async () => 1, { timeout: '1s' })()
    await get(checkout)
    await told('checkout', {}).toBe(11)
    expect(sum('inventory', {})).toBe(0)
  })

  it('reports what each of its servers answered, whoever called, and what is in flight', async () => {
    registry.policies.set('inventory', { service: 'inventory', retry: { attempts: 1 }, allow: [{ from: '*' }] })
    const inventory = await join('inventory')
    const waiting: (() => void)[] = []
    const web = await inventory.serve((request, response) => {
      if (request.url === '/wait') waiting.push(() => response.end())
      else response.writeHead(request.url === '/bad' ? 500 : 200).end()
    }, LOOPBACK)
    const rpc = await inventory.serveGrpc(shopServer({ Get: (_call, answer) => answer(null, { sku: 'a' }) }), LOOPBACK)
    const idOf = (at: number) => [...registry.instances.values()].find(({ port }) => port === at)?.id
    const served = (port: number) =>
      reportsOf('inventory').flatMap((report) => report.served?.filter(({ id }) => id === idOf(port)) ?? [])
    const total = (port: number, what: 'ended' | 'failed') =>
      served(port).reduce((all, { [what]: n = 0 }) => all + n, 0)
    const checkout = await join('checkout')
    for (let i = 0; i < 6; i++) await get(checkout)
    await checkout.http('inventory').get('/bad')
    for (let i = 0; i < 3; i++) await checkout.grpc(Shop, 'inventory').promises.get({ sku: 'a' })
    await expect.poll(() => [total(web.port, 'ended'), total(web.port, 'failed')], { timeout: 20_000 }).toEqual([7, 1])
    await expect.poll(() => [total(rpc.port, 'ended'), total(rpc.port, 'failed')], { timeout: 20_000 }).toEqual([3, 0])
    expect(served(rpc.port).some(({ ms }) => ms !== undefined)).toBe(true)

    const late = checkout.http('inventory').get('/wait', { timeout: '60s' })
    await expect.poll(() => served(web.port).at(-1)?.inFlight, { timeout: 20_000 }).toBe(1)
    // A registry that has just started hears of it, too.
    for (const { stream } of registry.sessions) stream.destroy()
    const toldAfresh = () => {
      const heard = registry.heard.filter(({ service }) => service === 'inventory').map(({ message }) => message)
      const again = heard.findLastIndex(({ type }) => type === 'hello')
      if (again === 0) return undefined
      const reports = heard
        .slice(again)
        .flatMap((message) => (message.type === 'traffic' ? [readTraffic({ ...message })] : []))
      return reports.flatMap((report) => report.served ?? []).find(({ id }) => id === idOf(web.port))?.inFlight
    }
    await expect.poll(toldAfresh, { timeout: 20_000 }).toBe(1)
    for (const answer of waiting) answer()
    await (await late).text()
    await expect
      .poll(() => [total(web.port, 'ended'), served(web.port).at(-1)?.inFlight ?? 0], { timeout: 20_000 })
      .toEqual([8, 0])
  })

  it('reports failures by code, retries, and the change of a breaker', async () => {
    registry.policies.set('inventory', {
      service: 'inventory',
      retry: { attempts: 2 },
      circuitBreaker: { errorThreshold: '50%', minimumCalls: 5 },
    })
    const inventory = await join('inventory')
    await inventory.serve((_request, response) => response.writeHead(503).end(), LOOPBACK)
    const checkout = await join('checkout')
    for (let i = 0; i < 20; i++) await get(checkout).catch(() => undefined)
    await told('checkout', { to: 'inventory' }).toBe(20)
    const series = reportsOf('checkout').flatMap((report) => report.series)
    const codes = new Map<string, number>()
    for (const one of series) {
      for (const [code, count] of Object.entries(one.codes ?? {})) codes.set(code, (codes.get(code) ?? 0) + count)
    }
    expect([...codes.values()].reduce((all, one) => all + one, 0)).toBe(20)
    expect(codes.get('circuit-open')).toBeGreaterThan(0)
    expect(series.some(({ retries = 0 }) => retries > 0)).toBe(true)
    const marks = reportsOf('checkout').flatMap((report) => report.marks ?? [])
    expect(marks).toContainEqual(
      expect.objectContaining({ to: 'inventory', what: 'circuit', from: 'closed', now: 'open' }),
    )
    // A registry that has just started hears of the breaker again.
    for (const { stream } of registry.sessions) stream.destroy()
    await expect
      .poll(() => reportsOf('checkout').flatMap((report) => report.marks?.filter(({ old }) => old) ?? []), {
        timeout: 20_000,
      })
      .toContainEqual(expect.objectContaining({ what: 'circuit', now: 'open' }))
  })

  it('reports as a server what callers outside the mesh ask', async () => {
    const inventory = await join('inventory', { version: 'v2' })
    const permissive = await inventory.serve((_request, response) => response.end('hello'), {
      ...LOOPBACK,
      mode: 'permissive',
    })
    const checkout = await join('checkout')
    await get(checkout)
    await told('checkout', { to: 'inventory' }).toBe(1)
    registry.policies.set('inventory', { service: 'inventory', allow: [{ from: '*' }] })
    for (let i = 0; i < 3; i++) await (await fetch(`http://127.0.0.1:${permissive.port}/`)).text()
    await told('inventory', { side: 'server', from: 'outside', protocol: 'http', method: 'GET', version: 'v2' }).toBe(3)
    expect(sum('inventory', {})).toBe(3)
  })

  it('tells callers of the mesh from others also without certificates', async () => {
    const inventory = await join('inventory')
    const plain = await inventory.serve((_request, response) => response.end('hello'), {
      ...LOOPBACK,
      mode: 'plaintext',
    })
    await inventory.serveGrpc(shopServer({ Get: (_call, answer) => answer(null, { sku: 'a' }) }), {
      ...LOOPBACK,
      mode: 'plaintext',
    })
    const checkout = await join('checkout')
    await get(checkout)
    await checkout.grpc(Shop, 'inventory').promises.get({ sku: 'a' })
    await told('checkout', { to: 'inventory', tls: false }).toBe(2)
    await fetch(`http://127.0.0.1:${plain.port}/`)
    await told('inventory', { from: 'outside' }).toBe(1)
  })

  it('reports to the next registry what the lost one did not hear', async () => {
    const inventory = await join('inventory')
    await inventory.serve((_request, response) => response.end('hello'), LOOPBACK)
    const checkout = await join('checkout')
    await get(checkout)
    await told('checkout', {}).toBe(1)
    registry.greeting.traffic = { everyMs: 60_000 }
    for (const { stream } of registry.sessions) stream.destroy()
    for (let i = 0; i < 5; i++) await get(checkout)
    const connected = () => checkout.events().filter(({ name }) => name === 'registry:connected').length
    await expect.poll(connected, { timeout: 20_000 }).toBe(2)
    // It leaves before the next report would be due.
    await checkout.close()
    await told('checkout', {}).toBe(6)
    expect(reportsOf('checkout').at(-1)).toMatchObject({ sequence: 1 })
  })

  it('reports nothing to a registry that does not ask, or if its user does not want it', async () => {
    const inventory = await join('inventory')
    await inventory.serve((_request, response) => response.end('hello'), LOOPBACK)
    const silent = await join('silent', { traffic: false })
    delete registry.greeting.traffic
    const unasked = await join('unasked')
    registry.greeting.traffic = { everyMs: 100 }
    const checkout = await join('checkout')
    for (const mesh of [silent, unasked, checkout]) await get(mesh)
    await told('checkout', {}).toBe(1)
    for (const mesh of [silent, unasked]) await mesh.close()
    expect([...reportsOf('silent'), ...reportsOf('unasked')]).toEqual([])
    const hello = (of: string) =>
      registry.heard.find(({ service, message }) => service === of && message.type === 'hello')!.message
    expect(hello('silent')).not.toHaveProperty('traffic')
    expect(hello('unasked')).toMatchObject({ traffic: true })
  })
})
