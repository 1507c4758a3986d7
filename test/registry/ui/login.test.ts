/** Logging in to the page: what the cookie holds, what it opens, and when it ends. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'
import { SESSION_MS } from '../../../src/registry/ui/sessions.ts'
import { LeapingClock } from '../../rigs/leaping-clock.ts'
import { request } from '../../rigs/registry-session.ts'
import { Visitor } from './visitor.ts'

let clock: LeapingClock
let registry: Registry
let visitor: Visitor

beforeEach(async () => {
  clock = new LeapingClock(0)
  const options = { port: 0, uiPort: 0, memory: true, log: false, lease: '10m', joinsPerSecond: 1, clock } as const
  registry = await startRegistry(options)
  visitor = new Visitor(registry)
})
afterEach(() => registry.close())

async function operator(access: 'admin' | 'read'): Promise<{ token: string; id: string }> {
  const made = await request(registry, 'POST', '/v1/operators', { admin: true, body: { name: 'ann', access } })
  expect(made.status).toBe(201)
  return made.json
}

describe('a session', () => {
  test('begins with a token, and its cookie holds another secret that no script reads', async () => {
    const { status, headers, json, text } = await visitor.logIn(registry.adminToken!)
    expect([status, json]).toEqual([
      200,
      { name: 'admin', access: 'admin', dev: false, trustDomain: 'inmesh.local', registry: registry.id },
    ])
    const [cookie] = headers['set-cookie']!
    expect(cookie).toMatch(
      new RegExp(
        `^__Host-inmesh-${registry.port}=[\\w-]{43}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=43200$`,
      ),
    )
    const secret = registry.adminToken!.split('.')[1]!
    expect([cookie!.includes(secret), text.includes(secret)]).toEqual([false, false])
    expect(headers['cache-control']).toBe('no-store')
    expect((await visitor.send('/ui/session')).json.name).toBe('admin')
  })

  test('on the port in plain text has a cookie for that port and /ui alone', async () => {
    visitor = new Visitor(registry, registry.uiUrl)
    const { headers } = await visitor.logIn(registry.adminToken!)
    const { port } = new URL(registry.uiUrl)
    expect(headers['set-cookie']![0]).toMatch(
      new RegExp(`^inmesh-${port}=[\\w-]{43}; Path=/ui; HttpOnly; SameSite=Strict; Max-Age=43200$`),
    )
    expect((await visitor.send('/ui/api/v1/traffic/graph')).status).toBe(200)
  })

  test('behind a proxy that ends TLS has the strict cookie', async () => {
    visitor = new Visitor(registry, registry.uiUrl)
    const { host } = new URL(registry.uiUrl)
    const { headers } = await visitor.logIn(registry.adminToken!, { origin: `https://${host}` })
    expect(headers['set-cookie']![0]).toMatch(/^__Host-inmesh-\d+=[\w-]{43}; Path=\/; Secure; HttpOnly/)
    expect((await visitor.send('/ui/session')).status).toBe(200)
  })

  test('ends by logging out, everywhere that the cookie was copied to', async () => {
    await visitor.logIn(registry.adminToken!)
    const copy = new Visitor(registry)
    copy.cookie = visitor.cookie
    const { headers } = await visitor.send('/ui/logout', { body: {} })
    expect(headers['set-cookie']![0]).toMatch(/^__Host-inmesh-\d+=; .*Max-Age=0$/)
    expect((await copy.send('/ui/api/v1/audit')).status).toBe(401)
  })

  test('ends after twelve hours', async () => {
    await visitor.logIn(registry.adminToken!)
    clock.pass(SESSION_MS - 60_000)
    expect((await visitor.send('/ui/session')).status).toBe(200)
    clock.pass(60_000)
    expect((await visitor.send('/ui/api/v1/audit')).json.error.code).toBe('identity-required')
    expect((await visitor.send('/ui/session')).json).toEqual({ name: null, access: null, dev: false })
  })

  test('ends with the token that it was begun with', async () => {
    const { token, id } = await operator('admin')
    await visitor.logIn(token)
    expect((await visitor.send('/ui/session')).json.name).toBe('operator:ann')
    expect((await request(registry, 'DELETE', `/v1/operators/${id}`, { admin: true })).status).toBe(200)
    expect((await visitor.send('/ui/api/v1/audit')).status).toBe(401)
    expect((await visitor.send('/ui/api/v1/audit')).status).toBe(401)
  })

  test('of an operator who may only read changes nothing', async () => {
    const { token } = await operator('read')
    await visitor.logIn(token)
    expect((await visitor.send('/ui/session')).json.access).toBe('read')
    expect((await visitor.send('/ui/api/v1/traffic/graph')).status).toBe(200)
    const changes = ['policies/inventory/rollback', 'manifests/HTTPRoute/shop/a/rollback', 'services/inventory/release']
    for (const path of changes.map((one) => `/v1/${one}`)) {
      const refused = await visitor.send(`/ui/api${path}`, { body: { version: 1 } })
      expect([path, refused.status, refused.json.error.code]).toEqual([path, 403, 'admin-required'])
    }
    for (const method of ['PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const { status } = await visitor.send('/ui/api/v1/policies/inventory', { method })
      expect([method, status]).toEqual([method, 404])
    }
    const headers = { 'x-http-method-override': 'DELETE' }
    expect((await visitor.send('/ui/api/v1/policies/inventory', { body: {}, headers })).status).toBe(404)
  })

  test('is one of at most twenty of an operator: the oldest ends', async () => {
    await visitor.logIn(registry.adminToken!)
    for (let i = 0; i < 20; i++) await new Visitor(registry).logIn(registry.adminToken!)
    expect((await visitor.send('/ui/api/v1/audit')).status).toBe(401)
  })

  test('is begun no more often than people do, because each is written', async () => {
    const { token } = await operator('read')
    const statuses: number[] = []
    for (let i = 0; i < 32; i++) statuses.push((await visitor.logIn(token)).status)
    expect([statuses[0], statuses.at(-1)]).toEqual([200, 429])
    expect((await new Visitor(registry).logIn(registry.adminToken!)).status).toBe(200)
    clock.pass(60_000)
    expect((await visitor.logIn(token)).status).toBe(200)
  })

  test('is of its registry: another one, or the same one started again, does not know it', async () => {
    await visitor.logIn(registry.adminToken!)
    await using other = await startRegistry({ port: 0, memory: true, log: false })
    const stranger = new Visitor(other)
    stranger.cookie = visitor.cookie!.replace(String(registry.port), String(other.port))
    expect((await stranger.send('/ui/api/v1/audit')).status).toBe(401)
    expect((await stranger.send('/ui/session')).json).toEqual({ name: null, access: null, dev: false })
  })

  test('opens the API below /ui only', async () => {
    await visitor.logIn(registry.adminToken!)
    expect((await visitor.send('/v1/audit')).status).toBe(403)
    // Nor does a token open the page's half.
    const direct = await request(registry, 'GET', '/ui/api/v1/audit', {
      admin: true,
      headers: { 'x-inmesh-ui': '1' },
    })
    expect([direct.status, direct.json.error.code]).toEqual([400, 'invalid-request'])
  })

  test('makes no tokens and takes no backup, also for an admin', async () => {
    await visitor.logIn(registry.adminToken!)
    for (const path of ['/v1/tokens', '/v1/operators', '/v1/backup', '/v1/denials', '/v1/jwt', '/v1/session']) {
      const { status, json } = await visitor.send(`/ui/api${path}`, { body: {} })
      expect([path, status, json.error.code]).toEqual([path, 404, 'not-found'])
    }
  })
})

describe('a guess', () => {
  test('is refused, audited without the token, and after some more they have to wait', async () => {
    const wrong = `inmesh-admin.${'x'.repeat(27)}.${registry.rootFingerprint}`
    const first = await visitor.logIn(wrong)
    expect([first.status, first.json.error.code, first.headers['set-cookie']]).toEqual([
      403,
      'admin-required',
      undefined,
    ])
    const statuses = new Set<number>()
    for (let i = 0; i < 30; i++) statuses.add((await visitor.logIn(wrong)).status)
    expect([...statuses]).toEqual([403, 429])
    // The right one does not wait for those of others behind the same address.
    expect((await visitor.logIn(registry.adminToken!)).status).toBe(200)
    const { text } = await request(registry, 'GET', '/v1/audit', { admin: true })
    expect(text).toContain('"action":"ui-login","outcome":"refused"')
    expect(text).toContain('"action":"ui-login","outcome":"done"')
    expect(text).not.toContain('x'.repeat(27))
  })

  test('of a form, a huge body, or no token at all is refused with the field', async () => {
    expect((await visitor.send('/ui/login', { body: {} })).json.error.message).toMatch(/token/)
    expect((await visitor.send('/ui/login', { body: { token: 'x'.repeat(2_000) } })).status).toBe(413)
    const got = await visitor.send('/ui/login')
    expect([got.status, got.json.error.code]).toEqual([405, 'method-not-allowed'])
  })
})

test('a stream of the graph ends with the session', async () => {
  await visitor.logIn(registry.adminToken!)
  let begun = (): void => {}
  const isBegun = new Promise<void>((resolve) => {
    begun = resolve
  })
  const stream = visitor.send('/ui/api/v1/traffic/stream?window=15s', { begun })
  const ended = expect(stream).rejects.toThrow(/aborted|hang up/)
  await isBegun
  await visitor.send('/ui/logout', { body: {} })
  await ended
})

test('with --dev, a browser on this machine needs no token, and one elsewhere does', async () => {
  await using dev = await startRegistry({ port: 0, uiPort: 0, memory: true, log: false, dev: true })
  const { json } = await new Visitor(dev, dev.uiUrl).send('/ui/session')
  expect(json).toMatchObject({ name: 'dev', access: 'admin', dev: true })
  // What a proxy or a tunnel passes on comes from anywhere.
  for (const name of ['x-forwarded-for', 'x-forwarded-host', 'forwarded', 'x-real-ip']) {
    const headers = { [name]: '127.0.0.1' }
    const stranger = await new Visitor(dev, dev.uiUrl).send('/ui/session', { headers })
    expect([name, stranger.json.name]).toEqual([name, null])
    expect((await request(dev, 'GET', '/v1/audit', { headers })).json.error.code).toBe('admin-required')
  }
})
