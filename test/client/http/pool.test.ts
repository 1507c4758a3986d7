import type { ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { resolveHttpTransport } from '../../../src/client/http/transport-options.ts'
import { OVER_MUX } from '../../rigs/mux-gateway.ts'
import { always, ScriptedServer } from '../../rigs/scripted-server.ts'
import { opened, rigWith } from './opened.ts'
import { endpoint, makeRig, until } from './rig.ts'

// What connections of many calls do instead is in test/client/mux/.
describe('the connections of an endpoint', () => {
  it.skipIf(OVER_MUX)('are made when needed, and the last one used is used next', async () => {
    const rig = await rigWith((_req, res) => void setTimeout(() => res.end('ok'), 10))
    expect(rig.endpoint.transport).toBeUndefined()
    await Promise.all(Array.from({ length: 8 }, () => rig.http.get('/')))
    expect(rig.transport.connections).toBe(8)
    for (let i = 0; i < 5; i++) await rig.http.get('/')
    expect(rig.transport.connections).toBe(8)
    await until(() => rig.transport.poolOf(rig.endpoint).idle === 8)
  })

  it.skipIf(OVER_MUX)('are bounded; who finds none waits in order, and beyond the queue is refused', async () => {
    const order: string[] = []
    const rig = await rigWith(
      (req, res) => {
        order.push(req.url!)
        setTimeout(() => res.end('ok'), 5)
      },
      { connections: { maxConnections: 2, maxWaiting: 4 }, retry: { attempts: 1 } },
    )
    const results = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => rig.http.get(`/${i}`)))
    const codes = results.map((r) => (r.status === 'fulfilled' ? 'ok' : r.reason.code))
    expect(codes).toEqual([
      'ok',
      'ok',
      'ok',
      'ok',
      'queue-full',
      'queue-full',
      'queue-full',
      'queue-full',
      'queue-full',
      'queue-full',
    ])
    expect(order.map((url) => Number(url.slice(1))).slice(2)).toEqual([2, 3])
    expect(rig.attempts.outcomes.filter((o) => o.code === 'queue-full').every((o) => o.verdict === 'refused')).toBe(
      true,
    )
    expect(rig.transport.connections).toBe(2)
    expect(rig.endpoint.pending).toBe(0)
  })

  it('that cannot be made fail everybody who waits for one, not one after another', async () => {
    const rig = await makeRig([endpoint(9, { address: '192.0.2.1' })], {
      connections: { connectTimeout: 500, maxConnections: 2 },
      retry: { attempts: 1 },
    })
    opened(rig)
    const at = performance.now()
    const results = await Promise.allSettled(Array.from({ length: 40 }, () => rig.http.post('/', 'x')))
    expect(results.every((r) => r.status === 'rejected' && r.reason.code === 'connect-failed')).toBe(true)
    // One after another it would be ten.
    expect(performance.now() - at).toBeLessThan(9_000)
    expect(rig.transport.poolOf(rig.endpoint).waiting).toBe(0)
  })

  it('that the server closes are noticed and replaced', async () => {
    const server = await new ScriptedServer(always(200, 'ok')).listen()
    const { port } = server
    const rig = await makeRig([port])
    opened(rig)
    await rig.http.get('/')
    await server.close()
    await until(() => rig.transport.connections === 0)
  })

  it('that are not needed any more are closed after a while, all but the spare ones', async () => {
    const rig = await rigWith(
      (_req, res) => {
        res.setHeader('keep-alive', 'timeout=60')
        setTimeout(() => res.end('ok'), 10)
      },
      { connections: { idleTimeout: 30, spareConnections: 1 } },
    )
    await Promise.all(Array.from({ length: 6 }, () => rig.http.get('/')))
    await new Promise((resolve) => setTimeout(resolve, 50))
    rig.transport.sweep()
    await until(() => rig.transport.connections === 1)
    expect((await rig.http.get('/')).status).toBe(200)
  })

  it.skipIf(OVER_MUX)(
    'of a withdrawn endpoint finish what runs, within the grace; who waits goes elsewhere',
    async () => {
      const held: ServerResponse[] = []
      const rig = await rigWith((req, res) => void (req.url === '/quick' ? held.unshift(res) : held.push(res)), {
        connections: { maxConnections: 2 },
        retry: { attempts: 1 },
      })
      const quick = rig.http.get('/quick')
      const slow = rig.http.get('/slow')
      const pool = rig.transport.poolOf(rig.endpoint)
      await until(() => held.length === 2)
      const waiting = rig.http.post('/waiting', 'x')
      pool.close(2_500)
      await expect(waiting).rejects.toMatchObject({ code: 'connect-failed', sent: false })
      await expect(rig.http.post('/late', 'x')).rejects.toMatchObject({ code: 'connect-failed', sent: false })
      held[0]!.end('ok')
      expect((await quick).status).toBe(200)
      await expect(slow).rejects.toMatchObject({ code: 'connection-lost', sent: true })
      await until(() => rig.transport.connections === 0)
    },
  )

  it('have limits that are checked, all at once', () => {
    expect(() => resolveHttpTransport({ maxConnections: 0, connectTimeout: 'x' as '1s' })).toThrow(
      /maxConnections: expected a whole number.*connectTimeout: expected a duration/,
    )
  })
})
