import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ForbiddenException } from '@nestjs/common'
import axios from 'axios'
import got from 'got'
import ky from 'ky'
import superagent from 'superagent'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type ErrorCode, MeshError } from '../../../src/core/errors.ts'
import { guard } from '../../../src/resilience/guard/guard.ts'
import { problemOf, problemType, TYPE_PREFIX } from '../../../src/server/http/problem.ts'
import { ask, serve } from '../rig.ts'

const SECRETS = /10\.0\.0\.7|inventory|spiffe/
const meshError = (code: ErrorCode, more: object = {}): MeshError =>
  new MeshError(`GET to 'inventory' at 10.0.0.7:8080 failed: spiffe://prod/service/inventory (${code})`, {
    code,
    service: 'inventory',
    method: 'GET',
    endpoint: '10.0.0.7:8080',
    ...more,
  })

describe('problemOf', () => {
  it('answers by the table of docs/errors.md, which has every code', () => {
    const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8')
    const table = page.split('<!-- problems -->')[1]!.split('<!-- end of problems -->')[0]!
    const codes = new Set<string>()
    for (const row of table.trim().split('\n').slice(2)) {
      const [status, type, title, list] = row
        .split('|')
        .map((cell) => cell.trim())
        .slice(1)
      for (const [, code, how] of list!.matchAll(/`([a-z-]+)`( by a timeout| of a token)?/g)) {
        const cause =
          how === ' by a timeout' ? { name: 'TimeoutError' } : how === ' of a token' ? { ok: false } : undefined
        const { name, ...rest } = problemType({ code: code as ErrorCode, cause })
        expect({ code, type: name === undefined ? '`about:blank`' : `\`${name}\``, ...rest }).toEqual({
          code,
          type,
          title,
          status: Number(status),
        })
        codes.add(code!)
      }
    }
    const source = readFileSync(new URL('../../../src/core/errors.ts', import.meta.url), 'utf8')
    const all = [
      ...source
        .split('export type ErrorCode =')[1]!
        .split('\n\n')[0]!
        .matchAll(/'([a-z-]+)'/g),
    ]
    expect([...codes].sort()).toEqual(all.map(([, code]) => code).sort())
  })

  it('shows nothing of addresses, services and identities, unless asked', () => {
    const error = meshError('permission-denied')
    const { status, headers, body } = problemOf(error)!
    expect({ status, headers }).toEqual({ status: 502, headers: { 'content-type': 'application/problem+json' } })
    expect(JSON.parse(body)).toEqual({
      type: `${TYPE_PREFIX}dependency-failed`,
      title: 'A service that this one needs failed',
      status: 502,
    })
    expect(body + JSON.stringify(headers)).not.toMatch(SECRETS)
    const exposed = problemOf(error, { expose: true })!.document
    expect(exposed).toMatchObject({
      detail: error.message,
      code: 'permission-denied',
      service: 'inventory',
      method: 'GET',
    })
  })

  it('says when to come back if it is known, and challenges the sender of a token', () => {
    const retryAfter = (retryAfterMs?: number) =>
      problemOf(meshError('circuit-open', { retryAfterMs }))!.headers['retry-after']
    expect([retryAfter(), retryAfter(1), retryAfter(1_001), retryAfter(5_000)]).toEqual([undefined, '1', '2', '5'])
    expect(problemOf(meshError('identity-rejected', { cause: { ok: false, reason: 'expired' } }))).toMatchObject({
      status: 401,
      headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
    })
  })

  it("finds the mesh's error behind the error of a client, and leaves errors with a status alone", () => {
    const error = meshError('circuit-open')
    const asFetch = new TypeError('fetch failed', { cause: error })
    const asGrpc = Object.assign(new Error('14 UNAVAILABLE', { cause: error }), { code: 14, details: '', metadata: {} })
    const asAxios = Object.assign(new Error('no', { cause: asFetch }), { isAxiosError: true, status: undefined })
    for (const each of [error, asFetch, asGrpc, asAxios]) expect(problemOf(each)).toMatchObject({ status: 503, error })
    for (const own of [{ status: 404 }, { statusCode: 409 }]) {
      expect(problemOf(Object.assign(new Error('own', { cause: error }), own))).toBeUndefined()
    }
  })

  it('is undefined for everything else that may be thrown, and never throws', () => {
    const circle: { cause?: unknown } = {}
    circle.cause = circle
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    const trap = {
      get cause(): unknown {
        throw new Error('trap')
      },
    }
    for (const thrown of [undefined, null, 0, 'text', new Error('own'), Symbol('s'), circle, proxy, trap]) {
      expect(problemOf(thrown)).toBeUndefined()
    }
    expect(problemOf(meshError('of-a-newer-copy' as ErrorCode))).toMatchObject({ status: 500 })
    expect(problemOf(meshError('toString' as ErrorCode))).toMatchObject({ status: 500 })
  })
})

describe('a handler that fails with an error of the mesh', () => {
  it.each([
    ['rejects', async () => Promise.reject(meshError('no-endpoints', { retryAfterMs: 2_500 }))],
    [
      'throws',
      () => {
        throw meshError('no-endpoints', { retryAfterMs: 2_500 })
      },
    ],
  ])('%s: is answered with the problem and without a claim that nothing was executed', async (_how, handler) => {
    const { server, failures } = await serve((_request, response) => {
      response.setHeader('inmesh-not-executed', 'refused').setHeader('x-own', '1')
      return handler()
    })
    const { status, headers, body } = await ask(server.port)
    expect(status).toBe(503)
    expect(headers).toMatchObject({ 'content-type': 'application/problem+json', 'retry-after': '3' })
    expect([headers['inmesh-not-executed'], headers['x-own']]).toEqual([undefined, undefined])
    expect(JSON.parse(body)).toMatchObject({ type: `${TYPE_PREFIX}dependency-unavailable`, status: 503 })
    expect(failures).toMatchObject([{ code: 'no-endpoints' }])
  })

  it('without the mesh: a plain server writes it by itself', async () => {
    const plain = createServer((_request, response) => {
      const problem = problemOf(meshError('attempt-timeout'))!
      response.writeHead(problem.status, problem.headers).end(problem.body)
    }).listen(0, '127.0.0.1')
    onTestFinished(() => void plain.close())
    await once(plain, 'listening')
    const answer = await fetch(`http://127.0.0.1:${(plain.address() as AddressInfo).port}/`)
    expect([answer.status, answer.headers.get('content-type')]).toEqual([504, 'application/problem+json'])
  })
})

it('an open circuit says when it admits a probe', async () => {
  const options = { name: 'quote', circuitBreaker: { minimumCalls: 1, resetAfter: '30s' } } as const
  const quote = guard(async () => {
    throw new Error('down')
  }, options)
  let last: unknown
  for (let i = 0; i < 5; i++) last = await quote().catch((error: unknown) => error)
  expect(last).toMatchObject({ code: 'circuit-open' })
  const { headers } = problemOf(last)!
  expect(Number(headers['retry-after'])).toBeGreaterThan(25)
  expect(Number(headers['retry-after'])).toBeLessThanOrEqual(30)
})

describe("an answer that a client calls a failure is our dependency's", () => {
  const CLIENTS: Record<string, (url: string) => Promise<unknown>> = {
    axios: (url) => axios.get(url),
    got: (url) => got(url, { retry: { limit: 0 } }),
    ky: (url) => ky(url, { retry: 0 }),
    superagent: (url) => superagent.get(url).then(),
  }

  it.each(Object.entries(CLIENTS))('thrown by %s', async (_, get) => {
    const server = createServer((req, res) => res.writeHead(Number(req.url!.slice(1))).end()).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const ours: number[] = []
    for (const status of [403, 404, 429, 500, 503, 504]) {
      const error = await get(`http://127.0.0.1:${port}/${status}`).catch((thrown: unknown) => thrown)
      ours.push(problemOf(error)!.status)
    }
    expect(ours).toEqual([502, 502, 503, 502, 503, 504])
  })

  it('but not an exception of Nest, whose response is its own', () => {
    expect(problemOf(new ForbiddenException({ statusCode: 403, message: 'no' }))).toBeUndefined()
  })
})
