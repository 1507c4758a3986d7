import { AsyncLocalStorage } from 'node:async_hooks'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type Dispatcher, request, fetch as undiciFetch } from 'undici'
import { describe, expect, it } from 'vitest'
import { makeDispatcher } from '../../../../src/client/http/dispatcher/dispatcher.ts'
import { opened } from '../opened.ts'
import { makeRig, type Rig, TestServer, until } from '../rig.ts'

async function setUp(
  handler: ConstructorParameters<typeof TestServer>[0],
): Promise<{ rig: Rig; dispatcher: Dispatcher; server: TestServer }> {
  const server = await new TestServer(handler).listen()
  opened(server)
  const rig = await makeRig([server.port])
  opened(rig)
  const dispatcher = makeDispatcher((name) => (name === 'inventory' ? rig : undefined))
  opened({ close: () => dispatcher.close() })
  return { rig, dispatcher, server }
}

const echo: ConstructorParameters<typeof TestServer>[0] = (req, res) => {
  res.setHeader('x-method', req.method!)
  res.setHeader('set-cookie', ['a=1', 'b=2'])
  req.pipe(res)
}

describe("the mesh's dispatcher", () => {
  it('carries undici.request, bodies both ways', async () => {
    const { rig, dispatcher } = await setUp(echo)
    const big = Buffer.alloc(2_000_000, 'x')
    const { statusCode, headers, body } = await request('http://inventory.mesh/a?b=1', {
      dispatcher,
      method: 'POST',
      body: big,
    })
    expect([statusCode, headers['x-method'], headers['set-cookie']]).toEqual([200, 'POST', ['a=1', 'b=2']])
    expect((await body.arrayBuffer()).byteLength).toBe(big.length)
    expect(rig.attempts.admitted).toBe(1)
  })

  it("carries undici's fetch", async () => {
    const { rig, dispatcher } = await setUp(echo)
    const res = await undiciFetch('http://inventory.mesh/', {
      dispatcher,
      method: 'POST',
      body: 'hello',
      duplex: 'half',
    })
    expect([await res.text(), res.headers.getSetCookie()]).toEqual(['hello', ['a=1', 'b=2']])
    expect(rig.attempts.admitted).toBe(1)
  })

  it.each([
    ['names', ['inventory'] as const],
    ['a function', (host: string) => (host === 'inventory' ? true : host === 'stock.internal' && 'inventory')],
  ])('takes hosts that `services` lists by %s, whatever their port, and leaves the rest', async (_by, services) => {
    const { rig, server } = await setUp(echo)
    const dispatcher = makeDispatcher((name) => (name === 'inventory' ? rig : undefined), { services })
    opened({ close: () => dispatcher.close() })
    const hosts = ['inventory:3000', 'INVENTORY.', ...(typeof services === 'function' ? ['stock.internal'] : [])]
    for (const host of hosts) {
      const { body } = await request(`http://${host}/`, { dispatcher, method: 'POST', body: host })
      expect(await body.text()).toBe(host)
    }
    expect(rig.attempts.admitted).toBe(hosts.length)
    const { body } = await request(`http://localhost:${server.port}/`, { dispatcher, method: 'POST', body: 'direct' })
    expect(await body.text()).toBe('direct')
    expect(rig.attempts.admitted).toBe(hosts.length)
  })

  it('leaves other hosts to the fallback', async () => {
    const { rig, dispatcher, server } = await setUp(echo)
    const { body } = await request(`http://127.0.0.1:${server.port}/`, { dispatcher, method: 'POST', body: 'direct' })
    expect(await body.text()).toBe('direct')
    expect(rig.attempts.admitted).toBe(0)
  })

  it('fails an unknown service and an abort through the handler', async () => {
    const { dispatcher, rig } = await setUp(() => {})
    await expect(request('http://nobody.mesh/', { dispatcher })).rejects.toMatchObject({ code: 'not-in-mesh' })
    const controller = new AbortController()
    const promise = request('http://inventory.mesh/', { dispatcher, signal: controller.signal })
    await until(() => rig.endpoint.pending === 1)
    controller.abort()
    await expect(promise).rejects.toMatchObject({ name: 'AbortError' })
    expect(rig.endpoint.pending).toBe(0)
  })

  it('calls a handler in the async context of its own request', async () => {
    const { dispatcher } = await setUp((_req, res) => res.end('ok'))
    const storage = new AsyncLocalStorage<number>()
    const seen: unknown[] = []
    for (const n of [1, 2, 3]) {
      await storage.run(
        n,
        () =>
          new Promise<void>((resolve) => {
            dispatcher.dispatch(
              { origin: 'http://inventory.mesh', path: '/', method: 'GET' },
              {
                onRequestStart() {},
                onResponseStart: () => void seen.push(storage.getStore()),
                onResponseData: () => void seen.push(storage.getStore()),
                onResponseEnd: () => resolve(),
                onResponseError: () => resolve(),
              },
            )
          }),
      )
    }
    expect(seen).toEqual([1, 1, 2, 2, 3, 3])
  })

  it('serves the built-in fetch once it is the global dispatcher', async () => {
    const root = new URL('../../../../', import.meta.url).href
    const source = `
      const { makeRig, TestServer } = await import('${root}test/client/http/rig.ts')
      const { makeDispatcher } = await import('${root}src/client/http/dispatcher/dispatcher.ts')
      const server = await new TestServer((req, res) => req.pipe(res)).listen()
      const rig = await makeRig([server.port])
      const { setGlobalDispatcher } = await import('undici')
      setGlobalDispatcher(makeDispatcher((name) => (name === 'inventory' ? rig : undefined)))
      const res = await fetch('http://inventory.mesh/', { method: 'POST', body: 'hello' })
      const other = await fetch('http://127.0.0.1:' + server.port + '/', { method: 'POST', body: 'direct' })
      console.log(res.status, await res.text(), await other.text(), rig.attempts.admitted)
      rig.close()
      await server.close()
    `
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', source], {
      timeout: 45_000,
      cwd: new URL('../../../../', import.meta.url),
    })
    expect(stdout.trim()).toBe('200 hello direct 1')
  })
})
