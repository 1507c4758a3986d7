/** What a refused peer gets from a server, and how little it can hold. */
import { once } from 'node:events'
import { type AddressInfo, connect as connectPlain, createServer, type Socket } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LingeringClose } from '../../src/server/lingering-close.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { craftLeaf, newAuthority } from '../rigs/certificates.ts'
import { serveShop } from './grpc/rig.ts'
import { authority, type Served, serve, TRUSTING } from './rig.ts'

const stranger = craftLeaf(newAuthority())
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const SETTINGS = Buffer.from([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100])
const ACK = Buffer.from([0, 0, 0, 4, 1, 0, 0, 0, 0])
const HEADERS = Buffer.from([0, 0, 1, 1, 5, 0, 0, 0, 1, 0x82])

interface Peer {
  readonly socket: TLSSocket
  readonly received: () => Buffer
  readonly closed: Promise<{ readonly error: Error | undefined }>
}

async function refused(port: number, protocol: string): Promise<Peer> {
  const socket = connect({ port, host: '127.0.0.1', ...TRUSTING, ...stranger, ALPNProtocols: [protocol] })
  onTestFinished(() => void socket.destroy())
  const chunks: Buffer[] = []
  let error: Error | undefined
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', (reason) => {
    error = reason
  })
  const closed = new Promise<{ error: Error | undefined }>((resolve) => socket.on('close', () => resolve({ error })))
  await once(socket, 'secureConnect')
  return { socket, received: () => Buffer.concat(chunks), closed }
}

function strict(clock?: FakeClock): Promise<Served> {
  return serve((_request, response) => response.end(), { mode: 'strict' }, { clock })
}

/** No farewell ends by its time, which a machine that stalls would take for the peer's. */
const patient = (): Promise<Served> => strict(new FakeClock({ wallNow: Date.now() }))

describe('a refused peer of HTTP/1.1', () => {
  it('reads its 403, whatever it sends meanwhile, and no reset takes it away', async () => {
    const { server } = await patient()
    const { socket, received, closed } = await refused(server.port, 'http/1.1')
    socket.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 40000\r\n\r\n${'x'.repeat(40_000)}`)
    expect(await closed).toEqual({ error: undefined })
    expect(received().toString()).toMatch(/^HTTP\/1\.1 403 Forbidden\r\nConnection: close\r\n/)
    expect(server.stats.inFlight).toBe(0)
  })

  it('has it before it asks anything', async () => {
    const { server } = await strict()
    const { received, closed } = await refused(server.port, 'http/1.1')
    await closed
    expect(received().toString()).toContain('reason=untrusted-issuer')
  })

  it('loses its connection if it does not end it, however much it sends', async () => {
    const { server } = await strict()
    const tls = { port: server.port, host: '127.0.0.1', ...TRUSTING, ...stranger, allowHalfOpen: true }
    const socket = connect(tls as object)
    onTestFinished(() => void socket.destroy())
    socket.on('error', () => {})
    socket.resume()
    await once(socket, 'secureConnect')
    const flood = setInterval(() => socket.writable && socket.write(Buffer.alloc(65_536)), 5)
    onTestFinished(() => clearInterval(flood))
    await expect.poll(() => server.stats.accepted).toBe(1)
    await expect.poll(() => server.stats.connections).toBe(0)
  })
})

describe('refused peers together', () => {
  it('hold at most 256 connections: the oldest ends early, and the rest after a second', async () => {
    const clock = new FakeClock()
    const farewells = new LingeringClose(clock)
    const accepted: Socket[] = []
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      accepted.push(socket)
      farewells.close(socket, { last: 'no' })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const peers = Array.from({ length: 258 }, () =>
      connectPlain({ port, host: '127.0.0.1', allowHalfOpen: true })
        .on('error', () => {})
        .resume(),
    )
    onTestFinished(() => {
      for (const peer of peers) peer.destroy()
      server.close()
    })
    await expect.poll(() => accepted.length).toBe(258)
    expect(farewells.lingering).toBe(256)
    expect(accepted.map(({ destroyed }) => destroyed)).toEqual(accepted.map((_, i) => i < 2))
    clock.advance(1_000)
    expect(accepted.every(({ destroyed }) => destroyed)).toBe(true)
    await expect.poll(() => farewells.lingering).toBe(0)
    expect(clock.timers).toBe(0)
  })
})

describe('a refused peer of gRPC', () => {
  const goaway = async (pieces: readonly Buffer[]): Promise<Buffer> => {
    const { server } = await serveShop({}, { mode: 'strict' })
    const { socket, received, closed } = await refused(server.port, 'h2')
    for (const piece of pieces) {
      socket.write(piece)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await closed
    return received()
  }

  it.each([
    ['acknowledges its SETTINGS', [PREFACE, SETTINGS, ACK]],
    ['sends a request at once', [Buffer.concat([PREFACE, SETTINGS, HEADERS])]],
    ['sends its frames byte by byte', [...Buffer.concat([PREFACE, SETTINGS, ACK])].map((byte) => Buffer.from([byte]))],
    ['says nothing', []],
    ['sends what is no HTTP/2', [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(100_000, 0xff)]],
  ])('that %s has SETTINGS, and a GOAWAY that leaves all streams behind', async (_what, pieces) => {
    const bytes = await goaway(pieces)
    expect(bytes.subarray(0, 9)).toEqual(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    expect(bytes[12]).toBe(7)
    expect(bytes.subarray(18, 26)).toEqual(Buffer.from([0, 0, 0, 0, 0, 0, 0, 7]))
    expect(bytes.subarray(26).toString()).toBe('identity-rejected; reason=untrusted-issuer')
  })
})

it('a server that closes does not wait for refused peers', async () => {
  const { server } = await strict()
  const tls = { port: server.port, host: '127.0.0.1', ...TRUSTING, ...stranger, allowHalfOpen: true }
  const socket = connect(tls as object)
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  await once(socket.resume(), 'end')
  await server.close()
  await expect.poll(() => server.stats.connections).toBe(0)
})

it('the certificate of another service is no refusal', async () => {
  const { server } = await strict()
  const good = craftLeaf(authority, { uris: ['spiffe://mesh.test/service/other'] })
  const socket = connect({ port: server.port, host: '127.0.0.1', ...TRUSTING, ...good })
  onTestFinished(() => void socket.destroy())
  await once(socket, 'secureConnect')
  socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
  const [answer] = (await once(socket, 'data')) as [Buffer]
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 /)
})
