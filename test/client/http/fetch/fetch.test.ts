import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { opened, rigWith } from '../opened.ts'
import { TestServer } from '../rig.ts'

/** Answers with what it was asked. */
const mirror: ConstructorParameters<typeof TestServer>[0] = (req, res) => {
  let body = ''
  req.on('data', (part) => {
    body += part
  })
  req.on('end', () => {
    res.setHeader('content-type', 'application/json')
    res.setHeader('set-cookie', ['a=1', 'b=2'])
    res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, body }))
  })
}

interface Mirrored {
  method: string
  url: string
  headers: Record<string, string>
  body: string
}

describe('mesh.fetch', () => {
  it('answers with a Response', async () => {
    const rig = await rigWith(mirror)
    const res = await rig.fetch('http://inventory/items/42?full=1')
    expect(res).toBeInstanceOf(Response)
    expect(Object.prototype.toString.call(res)).toBe('[object Response]')
    expect([res.status, res.ok, res.statusText, res.type, res.redirected, res.bodyUsed]).toEqual([
      200,
      true,
      'OK',
      'basic',
      false,
      false,
    ])
    expect(res.url).toBe('http://inventory/items/42?full=1')
    expect(res.headers).toBeInstanceOf(Headers)
    expect(res.headers.get('content-type')).toBe('application/json')
    expect(res.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
    expect(inspect(res)).toContain('status: 200')
    const seen = (await res.json()) as Mirrored
    expect([seen.method, seen.url, seen.headers.host]).toEqual(['GET', '/items/42?full=1', 'inventory'])
    expect(res.bodyUsed).toBe(true)
    await expect(res.text()).rejects.toThrow(TypeError)
    expect(() => res.clone()).toThrow(TypeError)
  })

  it('gives the body in every form', async () => {
    const rig = await rigWith((_req, res) => res.setHeader('content-type', 'text/plain').end('hello'))
    const get = (): Promise<Response> => rig.fetch('http://inventory.mesh/')
    expect(await (await get()).text()).toBe('hello')
    expect(Buffer.from(await (await get()).arrayBuffer()).toString()).toBe('hello')
    expect(Buffer.from(await (await get()).bytes()).toString()).toBe('hello')
    const blob = await (await get()).blob()
    expect([await blob.text(), blob.type]).toEqual(['hello', 'text/plain'])
    let streamed = ''
    for await (const part of (await get()).body!) streamed += Buffer.from(part).toString()
    expect(streamed).toBe('hello')
    const res = await get()
    expect(res.body).toBe(res.body)
    expect(res.bodyUsed).toBe(false)
    expect(await res.text()).toBe('hello')
    expect(res.bodyUsed).toBe(true)
    expect(await new Response((await get()).body, await get()).text()).toBe('hello')
  })

  it('can be cloned, complete or still arriving', async () => {
    const rig = await rigWith((req, res) => {
      if (req.url === '/short') res.end('hello')
      else {
        res.write('hel')
        setTimeout(() => res.end('lo'), 20)
      }
    })
    for (const path of ['short', 'long']) {
      const res = await rig.fetch(`http://inventory/${path}`)
      const copy = res.clone()
      expect(copy).toBeInstanceOf(Response)
      expect([await res.text(), await copy.text(), copy.status, copy.url]).toEqual(['hello', 'hello', 200, res.url])
    }
  })

  it('reads forms and has no body where there is none', async () => {
    const rig = await rigWith((req, res) => {
      if (req.url === '/none') res.writeHead(204).end()
      else res.setHeader('content-type', 'application/x-www-form-urlencoded').end('a=1&b=2')
    })
    expect((await (await rig.fetch('http://inventory/')).formData()).get('b')).toBe('2')
    const none = await rig.fetch('http://inventory/none')
    expect([none.status, none.body, await none.text()]).toEqual([204, null, ''])
  })

  it('takes a URL, a Request and all of init', async () => {
    const rig = await rigWith(mirror)
    const seen = async (res: Promise<Response>): Promise<Mirrored> => (await (await res).json()) as Mirrored
    expect((await seen(rig.fetch(new URL('http://inventory/a b')))).url).toBe('/a%20b')
    expect((await seen(rig.fetch('https://Inventory:8443/x/../y?q=ü#part'))).url).toBe('/y?q=%C3%BC')
    const request = new Request('http://inventory/r', { method: 'POST', body: 'hi', headers: { 'x-a': '1' } })
    expect(await seen(rig.fetch(request))).toMatchObject({
      method: 'POST',
      url: '/r',
      body: 'hi',
      headers: { 'x-a': '1' },
    })
    const put = rig.fetch('http://inventory/p', { method: 'put', body: 'x', headers: new Headers({ 'x-b': '2' }) })
    expect(await seen(put)).toMatchObject({ method: 'PUT', body: 'x', headers: { 'x-b': '2' } })
    const form = new FormData()
    form.set('k', 'v')
    expect((await seen(rig.fetch('http://inventory/', { method: 'POST', body: form }))).body).toContain('name="k"')
  })

  it('returns redirects and follows none', async () => {
    const rig = await rigWith((_req, res) => res.writeHead(302, { location: 'http://elsewhere/' }).end())
    const res = await rig.fetch('http://inventory/')
    expect([res.status, res.headers.get('location')]).toEqual([302, 'http://elsewhere/'])
  })

  it('refuses hosts that are no service, unless told to pass them on', async () => {
    const rig = await rigWith(mirror)
    for (const url of [
      'http://elsewhere/',
      'http://example.com/',
      'http://127.0.0.1:1/',
      'http://localhost/',
      'http://[::1]/',
      'http://a.b.mesh/',
    ]) {
      const error = await rig.fetch(url).catch((reason) => reason)
      expect(error.code).toBe('not-in-mesh')
      expect(error.message).toContain(new URL(url).hostname)
    }
    const server = await new TestServer((_req, res) => res.end('outside')).listen()
    opened(server)
    const open2 = await rigWith(mirror, { fetch: { passthrough: true } })
    expect(await (await open2.fetch(`http://127.0.0.1:${server.port}/`)).text()).toBe('outside')
  })

  it('rejects wrong input with one clear error', async () => {
    const rig = await rigWith(mirror)
    await expect(rig.fetch('inventory/items')).rejects.toThrow("expected a URL such as 'http://inventory/items/42'")
    await expect(rig.fetch('ftp://inventory/')).rejects.toThrow('http URL')
    await expect(rig.fetch('http://user:pw@inventory/')).rejects.toThrow('without credentials')
    await expect(rig.fetch('http://inventory/', { body: 'x' })).rejects.toThrow('cannot have body')
    await expect(rig.fetch('http://inventory/', { method: 'G E T' })).rejects.toThrow('HTTP method')
    await expect(rig.fetch('http://inventory/', { headers: { a: 'b\r\nc: d' } })).rejects.toThrow('control characters')
    await expect(rig.fetch('http://inventory/', { timeout: 'soon' as '1s' })).rejects.toThrow('timeout')
  })
})
