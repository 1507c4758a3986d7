/** Clients that flood, fall silent or hang: what they cost, while an honest client goes on. */
import { execFile } from 'node:child_process'
import { connect, createServer, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { currentCall } from '../../../src/server/current-call.ts'
import type { GrpcServer } from '../../../src/server/grpc/server.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { type Flood, floodsOfFrames, keepCalling, many } from '../../rigs/http2-floods.ts'
import { FLAG, FRAME, frameOf, frames } from '../../rigs/raw-http2.ts'
import { grpcFrame } from '../../rigs/scripted-grpc-server.ts'
import { begin, itemBytes, type ShopHandlers } from '../../rigs/shop.ts'
import { clientOf, pause, TRUSTING } from '../rig.ts'
import { callHeaders, meshClient, rawClient, serveShop } from './rig.ts'

const GET = callHeaders('/shop.Inventory/Get')

/** Calls of an honest client, one after another, until it is stopped; gives the codes. */
function honest(server: GrpcServer): () => Promise<number[]> {
  const client = meshClient(server.port)
  return keepCalling(async () => (await begin(client, 'get', { items: [{ sku: 'honest' }] }).ended).code)
}

async function attacked() {
  const ran = { honest: 0, flood: 0 }
  const handlers: ShopHandlers = {
    Get: (call, answer) => {
      if (call.request.sku === 'honest') ran.honest += 1
      else ran.flood += 1
      answer(null, {})
    },
  }
  const served = await serveShop(handlers, { mode: 'strict' })
  const stop = honest(served.server)
  await expect.poll(() => ran.honest).toBeGreaterThan(2)
  const attacker = await rawClient(served.server.port, clientOf('mallory'))
  return { ...served, ran, stop, attacker }
}

const FLOODS: Readonly<Record<string, Flood>> = {
  'rapid reset': {
    flood: (raw) => {
      for (let i = 0; i < 5_000; i++) {
        const id = 2 * i + 1
        raw.write(
          frames.headers(id, GET, FLAG.endHeaders),
          frames.data(id, grpcFrame(itemBytes('flood')), FLAG.endStream),
          frames.reset(id),
        )
      }
    },
    reason: 'rapid-reset',
  },
  'resets that we are made to send': {
    flood: (raw) => {
      for (let i = 0; i < 5_000; i++) {
        const id = 2 * i + 1
        // An increment of nothing is an error of the stream.
        raw.write(frames.headers(id, GET, FLAG.endHeaders), frames.windowUpdate(id, 0))
      }
    },
  },
  ...floodsOfFrames(GET),
  'DATA of nothing but padding': {
    flood: (raw) => {
      raw.write(frames.headers(1, callHeaders('/shop.Inventory/Upload'), FLAG.endHeaders))
      many(raw, frameOf(FRAME.data, 8, 1, Buffer.concat([Buffer.of(20), Buffer.alloc(20)])))
    },
    reason: 'frame-flood',
  },
}

describe('a flood', () => {
  it.each(Object.keys(FLOODS))('of %s is cut, no handler runs for it, and the honest go on', async (name) => {
    const { flood, reason } = FLOODS[name]!
    const { attacker, events, ran, stop, server } = await attacked()
    flood(attacker)
    expect(await attacker.ends()).toBe(true)
    const before = ran.honest
    await expect.poll(() => ran.honest).toBeGreaterThan(before + 5)
    const codes = await stop()
    expect(codes.filter((code) => code !== 0)).toEqual([])
    expect(ran.flood).toBe(0)
    await expect.poll(() => server.stats).toMatchObject({ inFlight: 0, connections: 1 })
    if (reason !== undefined) {
      const told = events.of('peer:refused')
      expect(told).toHaveLength(1)
      expect(told[0]).toMatchObject({ side: 'server', reason, peer: 'mallory', address: '127.0.0.1' })
    }
  })

  it('of calls that never end holds no more than its streams, and ends with its connection', async () => {
    const { attacker, ran, stop, server } = await attacked()
    for (let i = 0; i < 1_000; i++) attacker.write(frames.headers(2 * i + 1, GET, FLAG.endHeaders))
    await expect.poll(() => server.stats.inFlight).toBeGreaterThanOrEqual(1_000)
    expect(server.stats.inFlight).toBeLessThanOrEqual(1_001)
    const before = ran.honest
    await expect.poll(() => ran.honest).toBeGreaterThan(before + 5)
    attacker.socket.destroy()
    await expect.poll(() => server.stats.inFlight).toBeLessThanOrEqual(1)
    expect((await stop()).filter((code) => code !== 0)).toEqual([])
  })

  it('of large messages is refused by size, not collected', async () => {
    const { attacker, ran, stop } = await attacked()
    attacker.write(
      frames.headers(1, GET, FLAG.endHeaders),
      frames.data(1, grpcFrame(Buffer.alloc(100), { length: 2 ** 31 })),
    )
    expect(await attacker.frame(({ type, streamId }) => type === FRAME.headers && streamId === 1)).toBeDefined()
    expect(ran.flood).toBe(0)
    expect((await stop()).filter((code) => code !== 0)).toEqual([])
  })
})

describe('a connection that has gone silent', () => {
  /** A way between client and server that can lose everything without closing. */
  async function relay(port: number): Promise<{ port: number; cut(): void; open(): number }> {
    const pairs = new Set<Socket>()
    let lost = false
    const way = createServer((client) => {
      const server = connect(port, '127.0.0.1')
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        pairs.add(from)
        from.on('data', (bytes) => {
          if (!lost) to.write(bytes)
        })
        from.on('error', () => {})
        from.on('close', () => {
          pairs.delete(from)
          if (!lost) to.destroy()
        })
      }
    })
    await new Promise<void>((resolve) => way.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      for (const socket of pairs) socket.destroy()
      way.close()
    })
    return {
      port: (way.address() as { port: number }).port,
      cut: () => {
        lost = true
      },
      open: () => pairs.size,
    }
  }

  it('is asked for a sign of life and closed if it gives none; its handlers hear of it', async () => {
    let aborted = 0
    const clock = new FakeClock({ wallNow: Date.now() })
    const { server } = await serveShop(
      {
        Watch: (call) => {
          currentCall()!.signal.addEventListener('abort', () => {
            aborted += 1
          })
          call.write({})
        },
      },
      { mode: 'strict', keepalive: '1s' },
      { clock },
    )
    const way = await relay(server.port)
    const [far, near] = [meshClient(way.port), meshClient(server.port)]
    const streams = [begin(far, 'watch'), begin(near, 'watch')]
    await expect.poll(() => server.stats.inFlight).toBe(2)
    way.cut()
    // The other was silent for as long, but answers.
    for (let look = 0; look < 30; look++) {
      clock.advance(250)
      await pause(10)
    }
    await expect.poll(() => server.stats).toMatchObject({ connections: 1, inFlight: 1 })
    expect(aborted).toBe(1)
    for (const { cancel } of streams) cancel()
  })

  it('is not one whose sign of life waits in the socket, because the loop of the server stalled', async () => {
    const clock = new FakeClock({ wallNow: Date.now() })
    const shop: ShopHandlers = { Watch: (call) => void call.write({}) }
    const { server } = await serveShop(shop, { mode: 'strict', keepalive: '1s' }, { clock })
    const stream = begin(meshClient(server.port), 'watch')
    await expect.poll(() => server.stats.inFlight).toBe(1)
    clock.advance(1_500)
    clock.stall(5_000)
    for (let look = 0; look < 8; look++) {
      await pause(10)
      clock.advance(250)
    }
    expect(server.stats).toMatchObject({ connections: 1, inFlight: 1 })
    stream.cancel()
  })

  it.each([
    ['nothing at all', ''],
    ['a part of the preface', 'PRI * HT'],
    ['the preface alone', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ])('or has said %s within headersTimeout is closed; a client that only waits stays', async (_what, said) => {
    const clock = new FakeClock({ wallNow: Date.now() })
    const options = { mode: 'plaintext', headersTimeout: '1s', keepalive: '1h' } as const
    const { server } = await serveShop({}, options, { clock })
    const waiting = await rawClient(server.port)
    waiting.write(frames.ping())
    await waiting.frame(({ type, flags }) => type === FRAME.ping && flags === FLAG.ack)
    const socket = connect(server.port, '127.0.0.1')
    socket.resume().on('error', () => {})
    socket.write(said)
    await expect.poll(() => server.stats.connections).toBe(2)
    await expect
      .poll(() => {
        clock.advance(1_001)
        return server.stats.connections
      })
      .toBe(1)
    await expect.poll(() => socket.closed).toBe(true)
    expect(waiting.closed).toBe(false)
  })

  it.each([
    ['nothing', ''],
    ['one byte of text', 'P'],
    ['one byte of TLS', '\x16'],
    ['a part of a handshake', '\x16\x03\x01'],
  ])('or has said %s on a port for both is closed, too', async (_what, said) => {
    const { server } = await serveShop({}, { mode: 'permissive', headersTimeout: '1s' })
    const socket = connect(server.port, '127.0.0.1')
    socket.resume().on('error', () => {})
    if (said !== '') socket.write(said, 'latin1')
    await new Promise((resolve) => socket.on('close', resolve))
    await expect.poll(() => server.stats.connections).toBe(0)
  })

  it('or is silent behind a TLS handshake is closed, too', async () => {
    const { server } = await serveShop({}, { mode: 'strict', headersTimeout: '1s' })
    const tls = { ...TRUSTING, ...clientOf('checkout'), ALPNProtocols: ['h2'] }
    const socket = connectTls({ host: '127.0.0.1', port: server.port, ...tls })
    socket.resume().on('error', () => {})
    await new Promise((resolve) => socket.on('close', resolve))
    await expect.poll(() => server.stats.connections).toBe(0)
  })
})

describe('a head that is never sent to its end', () => {
  const HALF = frames.headers(1, GET).subarray(0, 30)

  it.each<[string, Buffer, Buffer]>([
    ['in one frame, byte by byte', HALF, Buffer.of(0)],
    ['in one frame, and then nothing', HALF, Buffer.alloc(0)],
    ['in CONTINUATION without end', frames.headers(1, GET, FLAG.endStream), frames.continuation(1, { x: 'y' })],
    ['as a part of SETTINGS', frames.settings({ 4: 65_535 }).subarray(0, 11), Buffer.alloc(0)],
  ])('%s, ends its connection by twice headersTimeout', async (_name, begin, more) => {
    const { server } = await serveShop({}, { mode: 'plaintext', headersTimeout: '1s', keepalive: '1h' })
    const raw = await rawClient(server.port)
    raw.write(begin)
    const drip = setInterval(() => raw.write(more), 400)
    onTestFinished(() => clearInterval(drip))
    expect(await raw.ends()).toBe(true)
  })

  it('ends it by twice the keepalive if a call is in progress', async () => {
    const { server } = await serveShop(
      { Watch: (call) => void call.write({}) },
      { mode: 'plaintext', headersTimeout: '1s', keepalive: '2s' },
    )
    const raw = await rawClient(server.port)
    raw.write(frames.headers(1, callHeaders('/shop.Inventory/Watch'), FLAG.endHeaders))
    raw.write(frames.data(1, grpcFrame(itemBytes('a')), FLAG.endStream))
    await raw.frame(({ type, streamId }) => type === FRAME.data && streamId === 1)
    raw.write(frames.headers(3, GET).subarray(0, 30))
    const drip = setInterval(() => raw.write(Buffer.of(0)), 400)
    onTestFinished(() => clearInterval(drip))
    expect(await raw.ends()).toBe(true)
  })

  it('is not what an idle client sends, whose SETTINGS were acknowledged and who answers PING', async () => {
    const { server } = await serveShop({}, { mode: 'plaintext', headersTimeout: '1s', keepalive: '1h' })
    const raw = await rawClient(server.port)
    raw.write(frames.windowUpdate(0, 1))
    expect(await raw.frame(({ type, flags }) => type === FRAME.ping && flags === 0)).toBeDefined()
    await pause(3_000)
    expect(raw.closed).toBe(false)
  })
})

it('a process whose gRPC server has closed has nothing left and ends by itself', async () => {
  const source = (path: string): string => JSON.stringify(new URL(`../../../${path}`, import.meta.url).href)
  const script = `
    const { serveGrpc } = await import(${source('src/server/grpc/server.ts')})
    const { compileIntentions } = await import(${source('src/server/authorization/intentions.ts')})
    const { serverStack } = await import(${source('test/server/server-stack.ts')})
    const { begin, Shop, shopServer } = await import(${source('test/rigs/shop.ts')})
    const grpc = await import('@grpc/grpc-js')
    const server = await serveGrpc(
      shopServer({ Get: (_call, answer) => answer(null, { sku: 'x' }), Watch: (call) => call.write({}) }),
      { mode: 'plaintext' },
      { service: 'inventory', authorizer: compileIntentions([], 'allow'), stack: serverStack() },
    )
    const client = new Shop('127.0.0.1:' + server.port, grpc.credentials.createInsecure())
    const first = await begin(client, 'get').ended
    const stream = begin(client, 'watch')
    await new Promise((resolve) => stream.call.once('data', resolve))
    await server.drain({ lameDuckMs: 0, graceMs: 50 })
    const ended = await stream.ended
    client.close()
    const left = () => process.getActiveResourcesInfo().filter((what) => !/Pipe|TTY|File|CloseReq|Timeout/.test(what))
    for (let look = 0; look < 200 && left().length > 0; look++) await new Promise((resolve) => setTimeout(resolve, 50))
    const ours = process.getActiveResourcesInfo().filter((what) => !/Pipe|TTY|File|CloseReq/.test(what))
    console.log(JSON.stringify([first.code, ended.code, ours]))
  `
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 50_000,
  })
  expect(JSON.parse(stdout)).toEqual([0, 14, []])
})
