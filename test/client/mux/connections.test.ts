import { describe, expect, it } from 'vitest'
import { GOAWAY, RESET } from '../../../src/mux/wire.ts'
import { failure } from '../http/opened.ts'
import { until } from '../http/rig.ts'
import { answer, clientOf, NO_EVENTS, peer } from './peers.ts'

describe('a connection of inmesh/1', () => {
  it('carries 10,000 calls of one turn, and no call opens another', async () => {
    const server = await peer((stream) => answer(stream), { maxStreams: 20_000 })
    const rig = await clientOf([server.port], { connections: { maxWaiting: 20_000 }, timeoutMs: 60_000 })
    const calls = Array.from({ length: 10_000 }, async (_, i) => (await rig.http.get(`/${i}`)).status)
    expect(new Set(await Promise.all(calls))).toEqual(new Set([200]))
    expect(server.connections.length).toBe(1)
    expect(new Set(server.executed).size).toBe(10_000)
    expect(rig.transport.poolOf(rig.endpoint).idle).toBe(1)
    expect(rig.endpoint.pending).toBe(0)
  })

  it('gets company when the peer takes no more streams on it, and the rest wait in order', async () => {
    const held: (() => void)[] = []
    const server = await peer((stream) => held.push(() => answer(stream)), { maxStreams: 2 })
    const rig = await clientOf([server.port], { retry: { attempts: 1 } })
    const calls = Array.from({ length: 12 }, (_, i) => rig.http.get(`/${i}`))
    await until(() => held.length === 8)
    // Four connections of two streams each.
    expect(server.connections.length).toBe(4)
    expect(rig.transport.poolOf(rig.endpoint).waiting).toBe(4)
    held.shift()!()
    await until(() => held.length === 8)
    expect(server.executed.at(-1)).toBe('/8')
    while (server.executed.length < 12) {
      held.shift()?.()
      await new Promise((resolve) => setImmediate(resolve))
    }
    for (const release of held) release()
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(12).fill(200))
  })

  it('refuses beyond the queue', async () => {
    const server = await peer(() => {}, { maxStreams: 1 })
    const rig = await clientOf([server.port], {
      connections: { maxConnections: 1, maxWaiting: 1 },
      retry: { attempts: 1 },
    })
    const running = rig.http.get('/', { timeout: 60_000 }).catch(() => {})
    await until(() => server.executed.length === 1)
    const waiting = failure(rig.http.post('/', 'x', { timeout: 60_000 }))
    expect(await failure(rig.http.post('/', 'x'))).toMatchObject({ code: 'queue-full', sent: false })
    rig.close()
    expect(await waiting).toMatchObject({ sent: false })
    await running
  })

  it('is not lost by calls that are cancelled, and the peer hears of each', async () => {
    const resets: number[] = []
    const server = await peer((stream, path) => {
      if (path === '/quick') answer(stream)
      else stream.events = { ...NO_EVENTS, wasReset: (_stream, { code }) => resets.push(code!) }
    })
    const rig = await clientOf([server.port])
    for (let i = 0; i < 20; i++) {
      const abort = new AbortController()
      const call = failure(rig.http.get('/slow', { signal: abort.signal }))
      await until(() => server.executed.filter((path) => path === '/slow').length === i + 1)
      abort.abort()
      expect((await call).code).toBe('cancelled')
      expect((await rig.http.get('/quick')).status).toBe(200)
    }
    await until(() => resets.length === 20)
    expect(new Set(resets)).toEqual(new Set([RESET.CANCELLED]))
    expect(server.connections.length).toBe(1)
  })

  it('that is lost says which calls may have been executed', async () => {
    const server = await peer((_stream, _path, { socket }) => void socket.destroy())
    const rig = await clientOf([server.port], { retry: { attempts: 1 } })
    const error = await failure(rig.http.post('/', 'x'))
    expect([error.code, error.sent]).toEqual(['connection-lost', true])
    expect(server.executed.length).toBe(1)
  })

  it('a POST that the peer resets as not executed is sent elsewhere', async () => {
    const busy = await peer((stream) => stream.reset(RESET.NOT_EXECUTED, 'too many streams'))
    const good = await peer((stream) => answer(stream))
    const rig = await clientOf([busy.port, good.port])
    for (let i = 0; i < 6; i++) expect((await rig.http.post('/', 'x')).status).toBe(200)
    expect(rig.attempts.outcomes.some((o) => o.verdict === 'refused' && o.code === 'refused-by-peer')).toBe(true)
    expect(rig.attempts.outcomes.every((o) => o.verdict !== 'failure')).toBe(true)
  })
})

describe('a peer that goes away', () => {
  it('finishes what it accepted; all beyond is sent on a new connection, unpaid and once', async () => {
    const held: (() => void)[] = []
    const server = await peer((stream, path, { number, session }) => {
      if (number > 0) answer(stream)
      else if (path === '/last') session.goAway(GOAWAY.NO_ERROR, 'rotation')
      else held.push(() => answer(stream))
      if (path === '/last' && number === 0) held.push(() => answer(stream))
    })
    const rig = await clientOf([server.port], { paidRetries: 0 })
    const first = Array.from({ length: 5 }, (_, i) => rig.http.post(`/a${i}`, 'x'))
    await until(() => held.length === 5)
    // The head of the next ones is on its way when the GOAWAY comes.
    const last = rig.http.post('/last', 'x')
    const beyond = Array.from({ length: 5 }, (_, i) => rig.http.post(`/b${i}`, 'x'))
    expect((await Promise.all(beyond)).map(({ status }) => status)).toEqual(Array(5).fill(200))
    expect(server.connections.length).toBe(2)
    for (const release of held) release()
    expect((await Promise.all([...first, last])).map(({ status }) => status)).toEqual(Array(6).fill(200))
    expect(server.executed.toSorted()).toEqual(
      ['/a0', '/a1', '/a2', '/a3', '/a4', '/b0', '/b1', '/b2', '/b3', '/b4', '/last'].toSorted(),
    )
    await until(() => rig.transport.connections === 1)
  })
})

describe('connections with an old certificate', () => {
  it('retire at their time: what runs on them ends there, and the next call has a new one', async () => {
    const held: (() => void)[] = []
    const server = await peer((stream, path) => {
      if (path === '/slow') held.push(() => answer(stream))
      else answer(stream)
    })
    const rig = await clientOf([server.port])
    const slow = rig.http.get('/slow')
    await until(() => held.length === 1)
    const pool = rig.transport.poolOf(rig.endpoint)
    pool.retire(rig.transport.clock.now(), 0)
    expect((await rig.http.get('/')).status).toBe(200)
    expect(server.connections.length).toBe(2)
    held[0]!()
    expect((await slow).status).toBe(200)
    await until(() => pool.connections === 1)
  })

  it('of a withdrawn endpoint finish what runs, within the grace', async () => {
    const held: (() => void)[] = []
    const server = await peer((stream) => held.push(() => answer(stream)))
    const rig = await clientOf([server.port], { retry: { attempts: 1 } })
    const calls = [rig.http.post('/quick', 'x'), failure(rig.http.post('/slow', 'x'))] as const
    await until(() => held.length === 2)
    rig.transport.poolOf(rig.endpoint).close(1_500)
    await expect(rig.http.post('/late', 'x')).rejects.toMatchObject({ code: 'connect-failed', sent: false })
    held[0]!()
    expect((await calls[0]).status).toBe(200)
    expect(await calls[1]).toMatchObject({ code: 'connection-lost', sent: true })
    await until(() => rig.transport.connections === 0)
  })
})
