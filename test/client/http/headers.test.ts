import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { flatHeader, flattenHeaders } from '../../../src/client/http/headers.ts'
import { attemptHeaders, checkPath, withQuery } from '../../../src/client/http/prepare-request.ts'
import { Attempt } from '../../../src/core/attempt.ts'
import { Call, type CallKind } from '../../../src/core/call.ts'
import { serving } from '../../../src/core/context.ts'
import { opened } from './opened.ts'
import { makeRig, type Rig, TestServer } from './rig.ts'

const kind: CallKind = { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true }

function attemptOf(call: Call, number: number): Attempt {
  const attempt = new Attempt(call)
  attempt.number = number
  return attempt
}

describe('the headers of an attempt', () => {
  it('name the span of the attempt, if it has one of its own, as the parent of what the callee does', () => {
    const call = new Call(kind, 0, Number.POSITIVE_INFINITY, undefined)
    const attempt = attemptOf(call, 0)
    call.trace = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), sampled: true, state: undefined }
    attempt.trace = { ...call.trace, spanId: 'c'.repeat(16) }
    expect(flatHeader(attemptHeaders(attempt, { headers: [], host: undefined }, 0), 'traceparent')).toContain(
      'c'.repeat(16),
    )
  })

  it("hold the service, the time left, trace, baggage and what came before; ours win over the user's", () => {
    const call = new Call(kind, 0, 1_000, undefined)
    call.trace = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), sampled: true, state: 'x=1' }
    call.baggage = new Map([['user', 'ü']])
    const given = flattenHeaders({ Accept: 'text/plain', traceparent: 'lie', baggage: 'lie=1', Host: 'lie' })
    expect(attemptHeaders(attemptOf(call, 2), { headers: given, host: undefined }, 250.5)).toEqual([
      'host',
      'inventory',
      'accept',
      'text/plain',
      'inmesh-timeout-ms',
      '749',
      'traceparent',
      `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
      'tracestate',
      'x=1',
      'baggage',
      'user=%C3%BC',
      'inmesh-previous-attempts',
      '2',
    ])
  })

  it("keep the user's trace and baggage if the call has none", () => {
    const call = new Call(kind, 0, Number.POSITIVE_INFINITY, undefined)
    const given = flattenHeaders([
      ['traceparent', 't'],
      ['baggage', 'b=1'],
    ])
    expect(attemptHeaders(attemptOf(call, 0), { headers: given, host: undefined }, 0)).toEqual([
      'host',
      'inventory',
      'traceparent',
      't',
      'baggage',
      'b=1',
    ])
  })

  it('never contain what belongs to one connection, or to the mesh of somebody else', () => {
    const flat = flattenHeaders(
      new Headers({
        connection: 'x',
        'transfer-encoding': 'chunked',
        'inmesh-timeout-ms': '9',
        'x-forwarded-client-cert': 'By=me',
        'x-a': '1',
      }),
    )
    expect(flat).toEqual(['x-a', '1'])
    expect(flattenHeaders({ 'X-List': ['a', 'b'], 'x-number': 7, 'x-none': undefined })).toEqual([
      'x-list',
      'a',
      'x-list',
      'b',
      'x-number',
      '7',
    ])
  })

  it('are refused if they could split a request, whatever they are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (name, value) => {
        let flat: string[]
        try {
          flat = flattenHeaders([[name, value]])
        } catch (error) {
          expect((error as Error).name).toBe('OptionsError')
          return
        }
        for (const text of flat) expect(text).not.toMatch(/[\r\n\0]/)
      }),
    )
    expect(() => flattenHeaders({ 'a b': '1' })).toThrow('"a b" is no valid header name')
    expect(() => flattenHeaders({ a: 'x\ny' })).toThrow('headers.a')
    expect(() => flattenHeaders('x' as never)).toThrow('headers')
  })

  it('inherit deadline, trace and baggage from the request being served', async () => {
    const server = await new TestServer((req, res) => res.end(JSON.stringify(req.headers))).listen()
    opened(server)
    const rig: Rig = await makeRig([server.port])
    opened(rig)
    const now = performance.now()
    const parent = new Call(kind, now, now + 20_000, undefined)
    parent.trace = { traceId: 'c'.repeat(32), spanId: 'd'.repeat(16), sampled: false, state: undefined }
    parent.baggage = new Map([['tenant', 'acme']])
    const headers = await serving(parent, async () => (await rig.http.get('/')).json<Record<string, string>>())
    expect(Number(headers['inmesh-timeout-ms'])).toBeLessThanOrEqual(20_000)
    expect(headers).toMatchObject({ baggage: 'tenant=acme', traceparent: `00-${'c'.repeat(32)}-${'d'.repeat(16)}-00` })
  })

  it('of a first attempt do not say how many came before', () => {
    const call = new Call(kind, 0, 100, undefined)
    expect(
      flatHeader(attemptHeaders(attemptOf(call, 0), { headers: [], host: undefined }, 0), 'inmesh-previous-attempts'),
    ).toBeUndefined()
  })
})

describe('a path', () => {
  it('must be one, without anything that ends a request line', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (path) => {
        let good: string
        try {
          good = checkPath(path)
        } catch {
          return
        }
        expect(good).toMatch(/^\/[^\s#]*$/)
      }),
    )
    for (const bad of ['', 'items', '/a b', '/a\r\nx: y', '/a#b', undefined, 7]) {
      expect(() => checkPath(bad as string)).toThrow("begins with '/'")
    }
  })

  it('takes a query', () => {
    expect(withQuery('/a', { b: 1, c: ['x', 'y'], d: undefined, e: true })).toBe('/a?b=1&c=x&c=y&e=true')
    expect(withQuery('/a?z=1', new URLSearchParams('b=2'))).toBe('/a?z=1&b=2')
    expect(withQuery('/a', {})).toBe('/a')
  })
})
