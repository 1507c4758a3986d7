import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { Call } from '../../../src/core/call.ts'
import { serving } from '../../../src/core/context.ts'
import { OVER_MUX } from '../../rigs/mux-gateway.ts'
import { always } from '../../rigs/scripted-server.ts'
import { failure, opened, rigOver, serve } from './opened.ts'
import { TestServer, until } from './rig.ts'

describe('cancelling', () => {
  it('takes any reason, also one that throws when it is looked at, and any failure of a body', async () => {
    const server = await serve(always(200, 'ok'))
    const rig = await rigOver([server.port])
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    for (const reason of [proxy, Symbol('enough'), 'enough', 0, Object.create(null)] as unknown[]) {
      const controller = new AbortController()
      const asked = failure(rig.http.post('/orders', 'x', { signal: controller.signal }))
      controller.abort(reason)
      const error = await asked
      expect(error.code).toBe('cancelled')
      expect(Object.is(error.cause, reason)).toBe(true)

      // biome-ignore lint/correctness/useYield: it fails before
      const body = (async function* (): AsyncGenerator<string> {
        throw reason
      })()
      const broken = await failure(rig.http.post('/orders', body))
      expect(Object.is(broken.cause, reason)).toBe(true)
      expect(JSON.stringify(broken)).toContain('"code"')
    }
    expect(rig.endpoint.pending).toBe(0)
  })

  it('a POST that is connecting is never executed', async () => {
    const server = await serve(always(200, 'ok'))
    const rig = await rigOver([server.port])
    for (let i = 0; i < 20; i++) {
      const controller = new AbortController()
      const promise = failure(rig.http.post('/orders', 'x', { signal: controller.signal }))
      controller.abort(new Error('enough'))
      const error = await promise
      expect([error.code, error.sent]).toEqual(['cancelled', false])
    }
    // The connections come to stand, and nothing is written on them.
    await until(() => rig.transport.poolOf(rig.endpoint).idle > 0)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(server.requests).toEqual([])
    expect(rig.attempts.outcomes.every((o) => o.verdict === 'cancelled')).toBe(true)
    expect(rig.endpoint.pending).toBe(0)
  })

  it('a POST given to an idle connection and cancelled in the same turn is never executed', async () => {
    let executed = 0
    const server = await new TestServer((_req, res) => {
      executed += 1
      res.end('ok')
    }).listen()
    opened(server)
    const rig = await rigOver([server.port])
    await (await rig.http.get('/')).text()
    await new Promise((resolve) => setTimeout(resolve, 20))
    const controller = new AbortController()
    const promise = failure(rig.http.post('/orders', 'x', { signal: controller.signal }))
    controller.abort()
    expect((await promise).sent).toBe(false)
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(executed).toBe(1)
    expect((await rig.http.post('/orders', 'x')).status).toBe(200)
  })

  // On inmesh/1 it would wait for the peer's limit of streams: test/client/mux/many-calls.test.ts.
  it.skipIf(OVER_MUX)('an attempt that waits for a connection leaves the queue at once', async () => {
    const server = await serve(async (c) => void (await c.request()))
    const rig = await rigOver([server.port], { connections: { maxConnections: 1 } })
    const running = rig.http.get('/', { timeout: 60_000, retry: false })
    running.catch(() => {})
    await until(() => server.connections === 1)
    const controller = new AbortController()
    const waiting = failure(rig.http.post('/', 'x', { signal: controller.signal }))
    const pool = rig.transport.poolOf(rig.endpoint)
    await until(() => pool.waiting === 1)
    controller.abort()
    expect((await waiting).sent).toBe(false)
    expect(pool.waiting).toBe(0)
  })

  it('a running request closes its connection; fetch rejects with the reason itself', async () => {
    const server = await serve(async (c) => void (await c.request()))
    const rig = await rigOver([server.port])
    const controller = new AbortController()
    const promise = rig.fetch('http://inventory/', { signal: controller.signal })
    await until(() => server.open === 1)
    controller.abort('my reason')
    await expect(promise).rejects.toBe('my reason')
    await until(() => server.open === 0)
    const aborted = rig.fetch('http://inventory/', { signal: AbortSignal.abort() })
    await expect(aborted).rejects.toMatchObject({ name: 'AbortError' })
  })

  it('within the body fails the reader and closes the connection', async () => {
    const server = await serve(async (c) => {
      await c.request()
      c.write('HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nhalf')
    })
    const rig = await rigOver([server.port])
    const controller = new AbortController()
    const res = await rig.http.get('/', { signal: controller.signal })
    const reading = failure(res.text())
    controller.abort(new Error('enough'))
    expect((await reading).code).toBe('cancelled')
    await until(() => server.open === 0)
    expect(rig.calls.outcomes.map((o) => o.verdict)).toEqual(['cancelled'])
  })

  it('by its reader ends a body', async () => {
    const server = await serve(async (c) => {
      await c.request()
      c.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n')
    })
    const rig = await rigOver([server.port])
    const res = await rig.http.get('/')
    for await (const chunk of res.body) {
      expect(Buffer.from(chunk).toString()).toBe('half')
      break
    }
    await until(() => server.open === 0)
    expect(rig.calls.outcomes.map((o) => o.verdict)).toEqual(['cancelled'])
  })

  it('during a backoff ends the call at once', async () => {
    const server = await serve(always(503, 'busy', { 'retry-after': '20' }))
    const rig = await rigOver([server.port])
    const controller = new AbortController()
    const promise = failure(rig.http.get('/', { signal: controller.signal }))
    await until(() => rig.attempts.outcomes.length === 1)
    const at = performance.now()
    controller.abort()
    const error = await promise
    expect(error.code).toBe('cancelled')
    expect(performance.now() - at).toBeLessThan(15_000)
    expect(error.attempts.length).toBe(1)
  })

  it('the inbound call cancels what it caused, and its deadline bounds it', async () => {
    const server = await serve(async (c) => void (await c.request()))
    const rig = await rigOver([server.port])
    const kind = { service: 'checkout', method: 'GET', protocol: 'http', streaming: false, idempotent: true } as const
    const parent = new Call(kind, performance.now(), performance.now() + 60_000, undefined)
    const promise = serving(parent, () => failure(rig.http.get('/')))
    await until(() => server.open === 1)
    parent.cancel(new Error('the caller went away'))
    expect((await promise).code).toBe('cancelled')
    const short = new Call(kind, performance.now(), performance.now() + 60, undefined)
    const error = await serving(short, () => failure(rig.http.get('/', { timeout: '5s' })))
    expect(error.code).toBe('deadline-exceeded')
  })

  it('10,000 calls on one signal leave no listener, no timer and no socket behind', async () => {
    const server = await new TestServer((_req, res) => res.end('ok')).listen()
    opened(server)
    const rig = await rigOver([server.port])
    const { signal } = new AbortController()
    const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const before = timers()
    for (let i = 0; i < 200; i++) {
      await Promise.all(Array.from({ length: 50 }, async () => (await rig.http.get('/', { signal })).text()))
    }
    expect(getEventListeners(signal, 'abort')).toEqual([])
    expect(rig.endpoint.pending).toBe(0)
    expect(rig.transport.connections).toBeLessThanOrEqual(50)
    expect(rig.attempts.outcomes.length).toBe(10_000)
    await until(() => timers() - before < 5)
    rig.close()
    await until(() => rig.transport.connections === 0)
  })

  it('by a signal that cannot be left again ends all the same', async () => {
    const server = await new TestServer((_req, res) => res.end('ok')).listen()
    opened(server)
    const rig = await rigOver([server.port])
    const signal = {
      aborted: false,
      addEventListener() {},
      removeEventListener() {
        throw new Error('of another implementation')
      },
    }
    const res = await rig.http.get('/', { signal: signal as unknown as AbortSignal })
    expect([await res.text(), rig.endpoint.pending]).toEqual(['ok', 0])
  })
})
