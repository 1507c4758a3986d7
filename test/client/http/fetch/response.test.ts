import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Headers as UndiciHeaders, Request as UndiciRequest } from 'undici'
import { describe, expect, it } from 'vitest'
import { rigWith } from '../opened.ts'

describe('a Response of mesh.fetch', () => {
  it('is not touched by a class that a framework puts into the place of Response', async () => {
    const root = new URL('../../../../', import.meta.url).href
    // As @hono/node-server does: a class of private fields that is, to `instanceof`, a subclass.
    const source = `
      const { makeRig, TestServer } = await import('${root}test/client/http/rig.ts')
      const BuiltIn = Response
      class Light {
        #init
        constructor(body, init) {
          this.#init = init instanceof Light ? init.#init : init
          this.real = new BuiltIn(body, this.#init)
        }
      }
      Object.setPrototypeOf(Light, BuiltIn)
      Object.setPrototypeOf(Light.prototype, BuiltIn.prototype)
      Object.defineProperty(globalThis, 'Response', { value: Light })
      const server = await new TestServer((req, res) => res.setHeader('x-a', '1').end('hello')).listen()
      const rig = await makeRig([server.port])
      const res = await rig.fetch('http://inventory/')
      const own = res instanceof BuiltIn
      const wrapped = new Response(res.body, res).real
      console.log(own, wrapped.headers.get('x-a'), await wrapped.text(), await (await rig.fetch('http://inventory/')).clone().text())
      rig.close()
      await server.close()
    `
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', source], {
      timeout: 45_000,
      cwd: new URL('../../../../', import.meta.url),
    })
    expect(stdout.trim()).toBe('true 1 hello hello')
  })

  it('hands changed headers on to its clones', async () => {
    const rig = await rigWith((_req, res) => res.setHeader('set-cookie', ['a=1', 'b=2']).end('hello'))
    const res = await rig.fetch('http://inventory/')
    res.headers.set('x-gateway', 'yes')
    res.headers.append('set-cookie', 'c=3')
    const copy = res.clone()
    expect([copy.headers.get('x-gateway'), copy.headers.getSetCookie()]).toEqual(['yes', ['a=1', 'b=2', 'c=3']])
    copy.headers.delete('x-gateway')
    expect(res.headers.get('x-gateway')).toBe('yes')
  })

  it('lets go of a body that its status does not allow', async () => {
    const rig = await rigWith((_req, res) => {
      res.writeHead(205, { 'content-length': '200000' }).write('x'.repeat(100_000))
    })
    const res = await rig.fetch('http://inventory/')
    expect([res.status, res.body, await res.text()]).toEqual([205, null, ''])
    await expect.poll(() => rig.endpoint.pending).toBe(0)
  })

  it.each(['complete', 'arriving'])('tells a reader that has all of a %s body of the end', async (how) => {
    const rig = await rigWith((_req, res) => {
      res.write('x'.repeat(100_000))
      if (how === 'complete') res.end()
      else setTimeout(() => res.end(), 20)
    })
    const reader = (await rig.fetch('http://inventory/')).body!.getReader()
    for (let length = 0; length < 100_000; ) length += (await reader.read()).value!.length
    expect(await reader.closed).toBeUndefined()
    expect(await reader.read()).toEqual({ done: true, value: undefined })
  })
})

describe('mesh.fetch', () => {
  it('takes a fully qualified name', async () => {
    const rig = await rigWith((_req, res) => res.end('hello'))
    expect(await (await rig.fetch('http://inventory.mesh./')).text()).toBe('hello')
    await expect(rig.fetch('http://inventory.example./')).rejects.toMatchObject({ code: 'not-in-mesh' })
  })

  it('takes a Request and Headers of another copy of undici', async () => {
    const rig = await rigWith(async (req, res) => {
      let body = ''
      for await (const part of req) body += part
      res.end(`${req.method} ${req.headers['x-a']} ${body}`)
    })
    const request = new UndiciRequest('http://inventory/', { method: 'PUT', body: 'hello', headers: { 'x-a': '1' } })
    expect(await (await rig.fetch(request as never)).text()).toBe('PUT 1 hello')
    const headers = new UndiciHeaders({ 'x-a': '2' })
    expect(await (await rig.fetch('http://inventory/', { headers: headers as never })).text()).toBe('GET 2 ')
    const stopped = new UndiciRequest('http://inventory/', { signal: AbortSignal.abort() })
    await expect(rig.fetch(stopped as never)).rejects.toMatchObject({ name: 'AbortError' })
  })
})
