/** Answers and bodies that no one reads hold up no other call of their connection. */
import { describe, expect, it } from 'vitest'
import type { HttpResponse } from '../../../src/client/http/response.ts'
import type { MuxStream } from '../../../src/mux/stream.ts'
import { serve } from '../../server/rig.ts'
import { failure } from '../http/opened.ts'
import { type Rig, until } from '../http/rig.ts'
import { answer, clientOf, type MuxPeer, NO_EVENTS, peer } from './peers.ts'

const LONG = Buffer.alloc(400_000, 'x')
const PATIENT = { timeoutMs: 30_000, retry: { attempts: 1 } }

function longOrShort(stream: MuxStream, path: string): void {
  if (path !== '/long') {
    answer(stream)
    return
  }
  stream.respond(200, '', [], undefined, false)
  stream.write(LONG)
  stream.end()
}

/** Answers of which nothing is read, and which have come as far as they may. */
async function unread(rig: Rig, server: MuxPeer, count: number): Promise<HttpResponse[]> {
  const answers = await Promise.all(Array.from({ length: count }, () => rig.http.get('/long')))
  const open = (): MuxStream[] => [...server.connections[0]!.session.streams.open]
  await until(() => open().length === count && open().every(({ credit }) => credit < 1_024))
  return answers
}

describe('unread answers', () => {
  it('leave their connection to others, and come whole when they are read', async () => {
    const server = await peer(longOrShort)
    const rig = await clientOf([server.port], PATIENT)
    const held = await unread(rig, server, 28)
    for (let i = 0; i < 20; i++) expect(await (await rig.http.get('/')).text()).toBe('ok')
    const bodies = await Promise.all(held.map((res) => res.bytes()))
    expect(bodies.every(({ length }) => length === LONG.length)).toBe(true)
    expect(server.connections.length).toBe(1)
  })

  it('beyond 8 MB make calls use another connection', async () => {
    const server = await peer(longOrShort)
    const rig = await clientOf([server.port], PATIENT)
    const held = await unread(rig, server, 120)
    for (let i = 0; i < 5; i++) expect(await (await rig.http.get('/')).text()).toBe('ok')
    expect(server.connections.length).toBe(2)
    expect(held.length).toBe(120)
  })

  it('are given up for those who wait when no other connection may be opened', async () => {
    const server = await peer(longOrShort)
    const rig = await clientOf([server.port], { ...PATIENT, connections: { maxConnections: 1 } })
    const held = await unread(rig, server, 120)
    // One is read, slowly.
    const reader = held.pop()!.body.getReader()
    let bytes = (await reader.read()).value!.length
    expect(await (await rig.http.get('/')).text()).toBe('ok')
    expect(server.connections.length).toBe(1)
    const ends = await Promise.allSettled(held.map((res) => res.bytes()))
    const refused = ends.filter((end) => end.status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    expect(refused.length).toBeLessThan(100)
    for (const { reason } of refused) expect(String(reason.cause ?? reason)).toMatch(/not read, and others waited/)
    for (let next = await reader.read(); !next.done; next = await reader.read()) bytes += next.value.length
    expect(bytes).toBe(LONG.length)
  })
})

describe('bodies that a peer does not read', () => {
  it('leave their connection to others', async () => {
    const waiting: (() => void)[] = []
    const { server } = await serve(
      (request, response) => {
        if (request.url !== '/hold') request.resume().once('end', () => response.end('ok'))
        else waiting.push(() => request.resume().once('end', () => response.end('read')))
      },
      {},
      { transport: 'auto' },
    )
    const rig = await clientOf([server.port], PATIENT)
    const uploads = Array.from({ length: 40 }, () => rig.http.post('/hold', Buffer.alloc(1_000_000)))
    await until(() => waiting.length === 40)
    await new Promise((resolve) => setTimeout(resolve, 200))
    for (let i = 0; i < 20; i++) expect(await (await rig.http.post('/', 'small')).text()).toBe('ok')
    for (const read of waiting) read()
    for (const upload of uploads) expect(await (await upload).text()).toBe('read')
    expect(rig.transport.connections).toBe(1)
  })

  it('and that use up all that it takes get a second connection', async () => {
    let reads = false
    const server = await peer(
      (stream, path, connection) => {
        if (path !== '/hold' || connection.number > 0 || reads) {
          answer(stream)
          return
        }
        stream.events = { ...NO_EVENTS, dataArrived() {} }
      },
      { connectionWindow: 300_000 },
    )
    const rig = await clientOf([server.port], PATIENT)
    const held = Array.from({ length: 3 }, () => rig.http.post('/hold', Buffer.alloc(300_000)))
    await until(() => server.connections.length === 2)
    expect(await (await rig.http.post('/', 'small')).text()).toBe('ok')
    reads = true
    rig.close()
    for (const one of held) await failure(one)
  })
})

describe('a peer that stops within a burst', () => {
  it('is sent no more calls after a moment; they wait unsent, and go on when it does', async () => {
    const server = await peer((stream, path) => void (path === '/held' || answer(stream)))
    const rig = await clientOf([server.port], PATIENT)
    const held = rig.http.get('/held')
    const pool = rig.transport.poolOf(rig.cluster.endpoints[0]!)
    // Two PINGs, so that the round trip is known.
    await until(() => server.connections[0]?.session.open === 1)
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    const { socket } = server.connections[0]!
    socket.pause()
    const calls: Promise<unknown>[] = []
    // The last is one of many that would be lost if the peer were gone.
    await until(() => {
      calls.push(rig.http.get('/'))
      return pool.waiting >= 20
    })
    expect(pool.reachable).toBe(true)
    socket.resume()
    await Promise.all(calls)
    expect(server.executed.length).toBe(calls.length + 1)
    expect(server.connections.length).toBe(1)
    rig.close()
    await failure(held)
  })
})
