/**
 * Bursts that meet an endpoint which is not there any more: with no retry budget at all, nothing
 * may be lost.
 */
import { createServer, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { deadPort } from '../../rigs/dead-port.ts'
import { FRAME, RawHttp2 } from '../../rigs/raw-http2.ts'
import { always } from '../../rigs/scripted-server.ts'
import { answerWell, grpcFailure, grpcRigOver, serveGrpc } from '../grpc/rig.ts'
import { opened, rigOver, serve } from './opened.ts'
import { TestServer } from './rig.ts'

const NO_BUDGET = { paidRetries: 0, retry: { budget: { ratio: 0 } } }

async function alive(): Promise<TestServer> {
  const server = await new TestServer((req, res) => {
    req.resume()
    req.on('end', () => res.end('ok'))
  }).listen()
  opened(server)
  return server
}

describe('a burst of 150 calls', () => {
  it('loses none to a dead instance of three, whether or not they may be repeated', async () => {
    const [a, b] = [await alive(), await alive()]
    const rig = await rigOver([await deadPort(), a.port, b.port], NO_BUDGET)
    const calls = Array.from({ length: 150 }, (_, i) => (i % 2 === 0 ? rig.http.post('/', 'x') : rig.http.get('/')))
    const ends = await Promise.all(calls)
    expect(ends.filter(({ status }) => status === 200).length).toBe(150)
    expect(a.requests + b.requests).toBe(150)
  })

  it('loses none of gRPC either', async () => {
    const [a, b] = [await serveGrpc(answerWell), await serveGrpc(answerWell)]
    const rig = grpcRigOver([await deadPort(), a.port, b.port], NO_BUDGET)
    const calls = Array.from({ length: 150 }, () => rig.client.promises.take({ sku: 'a' }))
    expect((await Promise.all(calls)).length).toBe(150)
    expect(a.streams + b.streams).toBe(150)
  })

  it('loses none to a connection that its peer ends in order, though streams lie beyond the last one', async () => {
    const good = await serveGrpc(answerWell)
    const rig = grpcRigOver([await leavingPort(), good.port], NO_BUDGET)
    const calls = Array.from({ length: 150 }, () => rig.client.promises.take({ sku: 'a' }))
    expect((await Promise.all(calls)).length).toBe(150)
    expect(good.streams).toBe(150)
  })

  it('is not passed on unpaid by peers that are alive and refuse', async () => {
    const refusing = await serve(always(503, 'busy', { 'inmesh-not-executed': 'overloaded' }))
    const rig = await rigOver([refusing.port, (await alive()).port], NO_BUDGET)
    const ends = await Promise.all(Array.from({ length: 10 }, () => rig.http.get('/')))
    expect(ends.filter(({ status }) => status === 503).length).toBe(5)
    const full = await serveGrpc((call) => call.refuse())
    const grpcRig = grpcRigOver([full.port, (await serveGrpc(answerWell)).port], NO_BUDGET)
    const { message } = await grpcFailure(grpcRig.client.promises.take({ sku: 'a' }))
    expect(message).toContain('UNAVAILABLE')
  })
})

/** Takes connections, and answers the first stream with a GOAWAY below it. */
async function leavingPort(): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    let left = false
    RawHttp2.serve(socket, (frame) => {
      if (frame.type !== FRAME.headers || left) return
      left = true
      socket.write(Buffer.from([0, 0, 8, FRAME.goAway, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened({
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  })
  return (server.address() as { port: number }).port
}
