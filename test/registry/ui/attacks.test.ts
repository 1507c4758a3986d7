/** What other pages, and the people who lure operators there, cannot do to the page of the mesh. */
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'
import { request } from '../../rigs/registry-session.ts'
import { Visitor } from './visitor.ts'

let registry: Registry

beforeAll(async () => {
  registry = await startRegistry({ port: 0, uiPort: 0, memory: true, log: false })
})
afterAll(() => registry.close())

describe.each(['over TLS', 'in plain text'])('%s', (listener) => {
  let visitor: Visitor
  beforeEach(async () => {
    visitor = new Visitor(registry, listener === 'over TLS' ? registry.url : registry.uiUrl)
    expect((await visitor.logIn(registry.adminToken!)).status).toBe(200)
  })

  test('a name that another DNS made point here gets nothing, not even the page (DNS rebinding)', async () => {
    const { port } = new URL(visitor.origin)
    const hosts = [
      ...[`evil.example:${port}`, 'evil.example', `127.0.0.1.evil.example:${port}`, 'a b'],
      ...['localhost.', 'localhost.evil.example', '127.0.0.1.nip.io', 'foo.localhost', 'localhost6', '127.1'],
      ...['2130706433', 'user@localhost', 'localhost/', '::1', '[::1', 'localhost:', 'localhost:x'],
    ]
    for (const host of hosts) {
      for (const path of ['/ui/', '/ui/session', '/ui/api/v1/audit']) {
        const headers = { host, origin: `https://${host}`, 'x-forwarded-host': `localhost:${port}` }
        const { status, json } = await visitor.send(path, { headers })
        expect([host, path, status, json?.error.code]).toEqual([host, path, 421, 'host-refused'])
      }
      const login = await visitor.logIn(registry.adminToken!, { host, origin: `http://${host}` })
      expect([login.status, login.headers['set-cookie']]).toEqual([421, undefined])
    }
  })

  test('a target with a host reaches nothing, whatever Host says', async () => {
    for (const host of [new URL(visitor.origin).host, 'evil.example']) {
      const { status } = await visitor.send(`http://${host}/ui/session`)
      expect([400, 404]).toContain(status)
    }
  })

  test('another origin reads nothing with the cookie', async () => {
    const others: Record<string, string | undefined>[] = [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: visitor.origin.replace(/:\d+$/, ':1') },
      // A page on another port of this machine, which gets no Origin with an image or a script.
      { 'sec-fetch-site': 'same-site', 'x-inmesh-ui': undefined },
      { 'sec-fetch-site': 'cross-site', 'x-inmesh-ui': undefined },
      { 'sec-fetch-site': 'none' },
      // An old browser says neither.
      { 'sec-fetch-site': undefined, 'x-inmesh-ui': undefined },
    ]
    for (const headers of others) {
      for (const path of ['/ui/api/v1/traffic/graph', '/ui/api/v1/traffic/stream', '/ui/session']) {
        const heard = await visitor.send(path, { headers })
        expect([path, heard.status, heard.json.error.code]).toEqual([path, 403, 'origin-refused'])
        expect(heard.headers['access-control-allow-origin']).toBeUndefined()
      }
    }
  })

  test('another origin writes nothing with the cookie, neither by a form nor by a script', async () => {
    const others: Record<string, string | undefined>[] = [
      { origin: 'https://evil.example', 'x-inmesh-ui': undefined, 'content-type': 'text/plain' },
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: undefined, 'x-inmesh-ui': undefined },
      { 'sec-fetch-site': 'same-site' },
    ]
    for (const headers of others) {
      for (const path of ['/ui/api/v1/policies/a/rollback', '/ui/api/v1/services/a/release', '/ui/logout']) {
        const { status, json } = await visitor.send(path, { body: { version: 1 }, headers })
        expect([path, status, json.error.code]).toEqual([path, 403, 'origin-refused'])
      }
    }
    expect((await visitor.send('/ui/session')).status).toBe(200)
  })

  test('another origin logs nobody in, so that no victim works under a foreign name', async () => {
    for (const headers of [{ origin: 'https://evil.example' }, { origin: undefined }, { 'x-inmesh-ui': undefined }]) {
      const { status, json, headers: heard } = await visitor.logIn(registry.adminToken!, headers)
      expect([status, json.error.code, heard['set-cookie']]).toEqual([403, 'origin-refused', undefined])
    }
  })

  test('a preflight of another origin is answered with nothing that allows it', async () => {
    const heard = await visitor.send('/ui/api/v1/audit', {
      method: 'OPTIONS',
      headers: {
        origin: 'https://evil.example',
        'access-control-request-method': 'GET',
        'access-control-request-headers': 'x-inmesh-ui',
        'x-inmesh-ui': undefined,
      },
    })
    expect(heard.status).toBeGreaterThanOrEqual(400)
    expect(Object.keys(heard.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
  })

  test('no page frames it, runs a script in it, or opens it with a handle (clickjacking, XSS)', async () => {
    const { status, headers } = await visitor.send('/ui/')
    expect([status, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8'])
    const policy = new Map(
      (headers['content-security-policy'] as string).split('; ').map((one) => {
        const [name = '', ...values] = one.split(' ')
        return [name, values.join(' ')]
      }),
    )
    expect(Object.fromEntries(policy)).toEqual({
      'default-src': "'none'",
      'script-src': "'self'",
      'style-src': "'self'",
      'img-src': "'self'",
      'connect-src': "'self'",
      'worker-src': "'none'",
      'base-uri': "'none'",
      'form-action': "'none'",
      'frame-ancestors': "'none'",
      'require-trusted-types-for': "'script'",
      'trusted-types': "'none'",
    })
    expect(headers).toMatchObject({
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
    })
  })

  test('a token in the address is refused, wherever it stands', async () => {
    for (const path of ['/ui/', '/ui', '/ui/login', '/ui/session', '/ui/index.html']) {
      const { status, json } = await visitor.send(`${path}?token=${registry.adminToken}`)
      expect([path, status, json.error.code]).toEqual([path, 400, 'invalid-request'])
      expect(json.error.message).toBe('the page takes no parameters; a token never belongs into an address')
    }
    const stranger = new Visitor(registry, visitor.origin)
    const asked = await stranger.send(`/ui/api/v1/audit?token=${registry.adminToken}`)
    expect(asked.status).toBe(401)
  })

  test('a cookie that another site of this host put beside ours counts for nothing, and locks nobody out', async () => {
    const [name, own] = visitor.cookie!.split('=') as [string, string]
    for (const put of ['', '..', 'a'.repeat(43), 'a'.repeat(9_000)]) {
      for (const cookie of [`${name}=${put}; ${name}=${own}`, `${name}=${own}; ${name}=${put}`]) {
        expect((await visitor.send('/ui/api/v1/audit', { headers: { cookie } })).status).toBe(200)
      }
      expect((await visitor.send('/ui/api/v1/audit', { headers: { cookie: `${name}=${put}` } })).status).toBe(401)
    }
  })

  test('between two sessions nobody chooses: both end by logging in', async () => {
    const other = new Visitor(registry, visitor.origin)
    await other.logIn(registry.adminToken!)
    const both = `${other.cookie}; ${visitor.cookie}`
    const refused = await visitor.send('/ui/api/v1/audit', { headers: { cookie: both } })
    expect([refused.status, refused.json.error.code]).toEqual([401, 'identity-required'])
    const again = new Visitor(registry, visitor.origin)
    expect((await again.logIn(registry.adminToken!, { cookie: both })).status).toBe(200)
    for (const one of [visitor, other]) expect((await one.send('/ui/api/v1/audit')).status).toBe(401)
    const cookie = `${again.cookie}; ${both}`
    expect((await again.send('/ui/api/v1/audit', { headers: { cookie } })).status).toBe(200)
  })

  test('a path leads nowhere but to the files that were built', async () => {
    const wrong = [
      ...['/ui/../package.json', '/ui/%2e%2e/%2e%2e/package.json', '/ui/assets/../../cli/main.js', '/ui//etc/passwd'],
      ...['/ui/assets/', '/ui/assets', '/ui/index.html%00', '/ui/.gitignore', '/ui/api', '/ui/api/', '/uix'],
    ]
    for (const path of wrong) {
      const { status } = await visitor.send(path)
      expect([path, [400, 404].includes(status)]).toEqual([path, true])
    }
  })

  test('its scripts and styles are hashed, kept by browsers for ever, and not the shell', async () => {
    const { text } = await visitor.send('/ui/')
    const files = [...text.matchAll(/(?:src|href)="(\/ui\/[^"]+)"/g)].map((match) => match[1]!)
    expect(files.length).toBeGreaterThanOrEqual(3)
    for (const file of files) {
      expect(file).toMatch(/^\/ui\/assets\/[\w-]+-[\w-]{8}\.(?:js|css|svg)$/)
      const { status, headers } = await visitor.send(file)
      expect([status, headers['cache-control']]).toEqual([200, 'public, max-age=31536000, immutable'])
    }
    // Neither a script nor a style stands in the shell itself.
    expect(text).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=/i)
    expect(text).not.toMatch(/https?:\/\//)
  })
})

test('the port in plain text has the page alone: no API, no tokens, no sessions of processes', async () => {
  const visitor = new Visitor(registry, registry.uiUrl)
  for (const path of ['/v1/audit', '/v1/join', '/healthz', '/metrics', '/v1/session', '/uix']) {
    const { status, text } = await visitor.send(path, {
      headers: { authorization: `Bearer ${registry.adminToken}` },
    })
    expect([path, status, text]).toEqual([path, 404, 'only /ui/ is here\n'])
  }
  const { status, headers } = await visitor.send('/')
  expect([status, headers.location]).toEqual([302, '/ui/'])
  expect(new URL(registry.uiUrl).hostname).toBe('127.0.0.1')
})

test('a method that only HTTP/2 can send is refused as others are', async () => {
  const session = http2.connect(registry.url, { ca: [...registry.roots], servername: 'localhost' })
  for (const method of ['__proto__', 'constructor', 'toString', 'get']) {
    const stream = session.request({ ':method': method, ':path': '/ui/api/v1/audit', 'x-inmesh-ui': '1' })
    stream.end()
    const [headers] = await once(stream, 'response')
    expect([method, headers[':status']]).toEqual([method, 404])
    stream.close()
  }
  session.destroy()
})

test('a proxy request, an upgrade and bytes that are no HTTP end their connection only', async () => {
  const { port } = new URL(registry.uiUrl)
  for (const head of [
    'CONNECT /ui/ HTTP/1.1',
    'GET /ui/ HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade',
    'xyz',
  ]) {
    const answer = await new Promise((resolve) => {
      const socket = http.request({ port, host: '127.0.0.1' }).on('error', () => {})
      socket.on('socket', (raw) => {
        raw.once('close', () => resolve('closed'))
        raw.once('connect', () => raw.end(`${head}\r\nHost: 127.0.0.1\r\n\r\n`))
      })
    })
    expect(answer).toBe('closed')
  }
  expect((await new Visitor(registry, registry.uiUrl).send('/ui/')).status).toBe(200)
})

test('names and texts of members reach the page as JSON, whatever they hold', async () => {
  const visitor = new Visitor(registry)
  await visitor.logIn(registry.adminToken!)
  const bad = '/v1/traffic/graph?window=%3Cscript%3Ealert(1)%3C/script%3E'
  const { status, headers, text } = await visitor.send(`/ui/api${bad}`)
  expect([status, headers['content-type'], headers['x-content-type-options']]).toEqual([
    400,
    'application/json; charset=utf-8',
    'nosniff',
  ])
  expect(text).not.toContain('<html')
  // An error of a path that nothing is at is no page either.
  const nothing = await request(registry, 'GET', '/<script>')
  expect(nothing.headers['content-type']).toBe('application/json; charset=utf-8')
})
