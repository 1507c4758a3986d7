import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { TestServer } from './rig.ts'

const run = promisify(execFile)
const root = new URL('../../../', import.meta.url).href

/** A separate process, because a process can load undici only once. */
async function program(source: string): Promise<string> {
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', source], { timeout: 45_000 })
  return stdout.trim()
}

const places = `const places = () => ['1', '2'].map((n) => globalThis[Symbol.for('undici.globalDispatcher.' + n)])`

describe('loading undici', () => {
  it("leaves the application's dispatchers and fetch as they were", async () => {
    const out = await program(`
      ${places}
      void globalThis.Response
      const before = places(), fetchBefore = globalThis.fetch
      const { loadUndici, undici } = await import('${root}src/client/http/undici.ts')
      let early; try { undici() } catch (error) { early = error.message }
      await loadUndici()
      const after = places()
      const kept = before.every((one, i) => one === undefined || one === after[i])
      console.log(JSON.stringify({ kept, some: before.some((one) => one !== undefined), fetch: fetchBefore === globalThis.fetch, ready: typeof undici().Client, early: early !== undefined }))
    `)
    expect(JSON.parse(out)).toEqual({ kept: true, some: true, fetch: true, ready: 'function', early: true })
  })

  it("keeps a dispatcher that the application had set, and the application's fetch goes on using it", async () => {
    const out = await program(`
      void globalThis.Response
      let used = 0
      const place = Symbol.for('undici.globalDispatcher.1')
      for (const n of ['1', '2']) {
        const at = Symbol.for('undici.globalDispatcher.' + n)
        const real = globalThis[at]
        if (real !== undefined) globalThis[at] = new Proxy(real, { get: (o, k) => k === 'dispatch' ? (used++, o[k].bind(o)) : o[k] })
      }
      const mine = globalThis[place]
      await (await import('${root}src/client/http/undici.ts')).loadUndici()
      await fetch('http://127.0.0.1:59999/').catch(() => {})
      console.log(JSON.stringify([globalThis[place] === mine, used > 0]))
    `)
    expect(JSON.parse(out)).toEqual([true, true])
  })

  it('is not caused by importing the client', async () => {
    const out = await program(`
      const { Module } = await import('node:module')
      const has = () => Object.keys(Module._cache).some((file) => file.includes('/node_modules/undici/'))
      await import('${root}src/client/http/fetch/fetch.ts')
      await import('${root}src/client/http/client.ts')
      const before = has()
      await (await import('${root}src/client/http/undici.ts')).loadUndici()
      console.log(JSON.stringify([before, has()]))
    `)
    expect(JSON.parse(out)).toEqual([false, true])
  })
})

describe('a process with idle connections', () => {
  it('exits by itself', async () => {
    const server = await new TestServer((_req, res) => {
      res.setHeader('keep-alive', 'timeout=600')
      res.end('ok')
    }).listen()
    server.server.keepAliveTimeout = 600_000
    const out = await program(`
      const { makeRig } = await import('${root}test/client/http/rig.ts')
      const rig = await makeRig([${server.port}])
      const texts = await Promise.all([1, 2, 3].map(async () => (await rig.http.get('/')).text()))
      // One more connection that is made but never used: its request gave up while it was
      // connecting.
      const controller = new AbortController()
      const busy = [1, 2, 3, 4].map(() => rig.http.get('/', { signal: controller.signal }).catch(() => {}))
      controller.abort()
      await Promise.all(busy)
      console.log(texts.join(), rig.transport.connections > 0)
    `)
    expect(out).toBe('ok,ok,ok true')
    await server.close()
  })
})
