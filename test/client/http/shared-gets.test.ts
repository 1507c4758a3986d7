import type { RequestListener } from 'node:http'
import { describe, expect, it } from 'vitest'
import { HttpClient } from '../../../src/client/http/client.ts'
import type { HttpFilter } from '../../../src/client/http/options.ts'
import { Call } from '../../../src/core/call.ts'
import { serving } from '../../../src/core/context.ts'
import { opened } from './opened.ts'
import { makeRig, type Rig, TestServer, until } from './rig.ts'

async function setUp(handler: RequestListener): Promise<{ server: TestServer; rig: Rig }> {
  const server = await new TestServer(handler).listen()
  opened(server)
  const rig = await makeRig([server.port])
  opened(rig)
  return { server, rig }
}

const COLLAPSE = { collapse: true, cacheMs: 0 }
const CACHE = { collapse: true, cacheMs: 60_000 }

describe('equal GETs', () => {
  it('share one exchange, and each has a body of its own', async () => {
    const { server, rig } = await setUp((req, res) => setTimeout(() => res.end(`answer to ${req.url}`), 20))
    const http = new HttpClient(rig, [], COLLAPSE)
    const answers = await Promise.all([http.get('/a'), http.get('/a'), http.get('/b'), http.get('/a', { query: {} })])
    const [a1, a2, b] = answers
    ;(await a1.bytes()).fill(0)
    expect([await a2.text(), await b.text()]).toEqual(['answer to /a', 'answer to /b'])
    expect(server.requests).toBe(2)
    await http.get('/a')
    expect(server.requests).toBe(3)
  })

  it('do not share what other headers asked for, filters’ included, nor with a signal or another method', async () => {
    const { server, rig } = await setUp((req, res) => setTimeout(() => res.end(req.headers.authorization ?? ''), 20))
    let user = 0
    const withUser: HttpFilter = (request, call, next) =>
      next({ ...request, headers: { authorization: `user ${user++}` } }, call)
    const http = new HttpClient(rig, [withUser], CACHE)
    const bodies = await Promise.all([http.get('/me'), http.get('/me')].map(async (res) => (await res).text()))
    expect(bodies).toEqual(['user 0', 'user 1'])
    const plain = new HttpClient(rig, [], CACHE)
    await Promise.all([plain.get('/x', { signal: new AbortController().signal }), plain.get('/x'), plain.post('/x')])
    expect(server.requests).toBe(5)
  })

  it('do not share what was asked with other baggage, which travels', async () => {
    const { server, rig } = await setUp((req, res) =>
      setTimeout(() => res.end(String(req.headers.baggage ?? 'none')), 20),
    )
    const http = new HttpClient(rig, [], CACHE)
    const as = (tenant: string | undefined): Promise<string> => {
      const parent = new Call(rig.kind('GET', false), 0, Number.POSITIVE_INFINITY, undefined)
      if (tenant !== undefined) parent.baggage = new Map([['tenant', tenant]])
      return serving(parent, async () => (await http.get('/me')).text())
    }
    for (let round = 0; round < 2; round++) {
      expect(await Promise.all([as('a'), as('b'), as('a'), as(undefined)])).toEqual([
        'tenant=a',
        'tenant=b',
        'tenant=a',
        'none',
      ])
    }
    expect(server.requests).toBe(3)
  })

  it('go on when one caller leaves; the exchange ends when all have', async () => {
    let gone = 0
    const { rig } = await setUp((_req, res) => {
      res.on('close', () => {
        gone += 1
      })
    })
    const http = new HttpClient(rig, [], COLLAPSE)
    const parents = [1, 2].map(() => new Call(rig.kind('GET', false), 0, Number.POSITIVE_INFINITY, undefined))
    const asked = parents.map((parent) => serving(parent, () => http.get('/slow').catch((error: unknown) => error)))
    await until(() => rig.attempts.admitted === 1)
    parents[0]!.cancel('gone')
    expect(await asked[0]).toMatchObject({ code: 'cancelled', cause: 'gone' })
    expect(rig.attempts.outcomes.length).toBe(0)
    parents[1]!.cancel('gone')
    expect(await asked[1]).toMatchObject({ code: 'cancelled' })
    await until(() => gone <= 1 && rig.attempts.outcomes.length === 1)
    expect(rig.endpoint.pending).toBe(0)
  })
})

describe('the cache of GETs', () => {
  it('keeps answers of status 200 that the service lets be kept', async () => {
    const { server, rig } = await setUp((req, res) => {
      if (req.url === '/private') res.setHeader('cache-control', 'max-age=60, private')
      if (req.url === '/cookie') res.setHeader('set-cookie', 'a=b')
      if (req.url === '/missing') res.statusCode = 404
      res.end('x'.repeat(req.url === '/large' ? 70_000 : 10))
    })
    const http = new HttpClient(rig, [], CACHE)
    for (let i = 0; i < 3; i++) expect(await (await http.get('/item')).text()).toBe('xxxxxxxxxx')
    expect(server.requests).toBe(1)
    for (const path of ['/private', '/cookie', '/missing', '/large']) {
      for (let i = 0; i < 2; i++) await (await http.get(path)).bytes()
    }
    expect(server.requests).toBe(9)
  })
})
