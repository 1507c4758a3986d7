/**
 * Nothing that a caller passes is dropped in silence: each option of the HTTP doors is honoured or
 * refused.
 */
import { describe, expect, it } from 'vitest'
import type { HttpClient } from '../../../src/client/http/client.ts'
import type { MeshFetchInit } from '../../../src/client/http/fetch/init.ts'
import type { HttpFilter } from '../../../src/client/http/options.ts'
import { checkClientOptions, checkDispatcherOptions, checkFetchOptions } from '../../../src/client/http/options.ts'
import { rigWith } from './opened.ts'

const WRONG: Record<string, unknown[]> = {
  timeout: [null, 'soon', 0, -1, Number.NaN, true, '10m', {}, []],
  idleTimeout: [null, 'soon', 0, 1, true],
  idempotent: [null, 'false', 0, {}],
  retry: [null, true, 0, {}, { attempts: 1 }],
  streaming: [null, 'yes', 1],
  key: [null, '', 5, 'x'.repeat(5_000), ['a']],
  signal: ['a', 5, {}, new AbortController(), new EventTarget()],
  headers: [
    null,
    'a: b',
    5,
    ['a'],
    [['a']],
    [['a', 'b', 'c']],
    { 'a b': '1' },
    { a: null },
    { a: {} },
    { a: () => '1' },
  ],
  method: [null, 5, 'A B', 'CONNECT'],
  timout: ['1s'],
  header: [{}],
  retries: [0],
}
const ROWS = Object.entries(WRONG).flatMap(([key, values]) => values.map((value) => [key, value] as const))

describe('an option of a call', () => {
  it.each(ROWS)('of mesh.http is refused: %s %o', async (key, value) => {
    const rig = await rigWith((_req, res) => res.end())
    const call =
      key === 'method'
        ? rig.http.request(value as string, '/')
        : rig.http.request('GET', '/', { [key]: value } as object)
    await expect(call).rejects.toMatchObject({ code: 'invalid-options', message: expect.stringContaining(key) })
    expect(rig.attempts.admitted).toBe(0)
  })

  it.each(ROWS)('of mesh.fetch is refused: %s %o', async (key, value) => {
    const rig = await rigWith((_req, res) => res.end())
    const call = rig.fetch('http://inventory/', { [key]: value } as MeshFetchInit)
    await expect(call).rejects.toMatchObject({ code: 'invalid-options', message: expect.stringContaining(key) })
    expect(rig.attempts.admitted).toBe(0)
  })

  it.each(ROWS)('is refused when a filter sets it: %s %o', async (key, value) => {
    const filter: HttpFilter = (request, call, next) => next({ ...request, [key]: value }, call)
    const rig = await rigWith((_req, res) => res.end(), { filters: [filter] })
    await expect(rig.http.get('/')).rejects.toMatchObject({ message: expect.stringContaining(key) })
    expect(rig.attempts.admitted).toBe(0)
  })

  it.each<[string, unknown]>([
    ['null', null],
    ['text', '1s'],
    ['a number', 5],
    ['a function', () => {}],
  ])('is in an object, not in %s', async (_, options) => {
    const rig = await rigWith((_req, res) => res.end())
    await expect(rig.http.get('/', options as never)).rejects.toMatchObject({ code: 'invalid-options' })
    expect(rig.attempts.admitted).toBe(0)
  })

  it('may be undefined, and no body and no signal may be null', async () => {
    const rig = await rigWith((req, res) => res.end(req.headers['x-a']))
    const none = Object.fromEntries([...Object.keys(WRONG).slice(0, 8), 'body', 'query'].map((key) => [key, undefined]))
    expect((await rig.http.get('/', { ...none, json: undefined })).status).toBe(200)
    expect(
      (await rig.fetch('http://inventory/', { timeout: undefined, key: undefined, cache: undefined as never })).status,
    ).toBe(200)
    expect((await rig.http.get('/', { body: null, signal: null })).status).toBe(200)
    expect(await (await rig.http.get('/', { headers: { 'x-a': 5, none: undefined } })).text()).toBe('5')
    expect(await (await rig.http.get('/', { headers: [['x-a', ['1', '2']]] as never })).text()).toBe('1, 2')
  })

  it.each<[string, (http: HttpClient) => Promise<unknown>]>([
    ['get', (http) => http.get('/', undefined, { timeout: '1s' } as never)],
    ['delete', (http) => http.delete('/', undefined, { timeout: '1s' } as never)],
    ['post', (http) => http.post('/', 'a', undefined, { timeout: '1s' } as never)],
    ['request', (http) => http.request('PUT', '/', undefined, { timeout: '1s' } as never)],
  ])('behind the last argument of %s is refused', async (_, call) => {
    const rig = await rigWith((_req, res) => res.end())
    await expect(call(rig.http)).rejects.toThrow(/no argument behind the options/)
    expect(rig.attempts.admitted).toBe(0)
  })

  it('is of bytes that are still there', async () => {
    const rig = await rigWith((_req, res) => res.end())
    const bytes = new Uint8Array([1, 2])
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
    for (const body of [bytes, bytes.buffer]) {
      await expect(rig.http.post('/', body as Uint8Array)).rejects.toThrow(/body: its bytes were transferred/)
    }
    expect(rig.attempts.admitted).toBe(0)
  })

  it('is not taken for a Request because it names a URL', async () => {
    const rig = await rigWith((_req, res) => res.end())
    const config = { url: '/other', method: 'GET', headers: {}, idempotent: 'false' }
    await expect(rig.fetch('http://inventory/', config as never)).rejects.toThrow(/url: unknown key/)
    await expect(rig.fetch(config as never)).rejects.toThrow(/expected a URL/)
  })

  it('of the mesh is refused for a host that is passed on', async () => {
    const rig = await rigWith((_req, res) => res.end(), { fetch: { passthrough: true } })
    for (const init of [
      { timeout: '1s' },
      { idempotent: true },
      { retry: false },
      { key: 'a' },
      { streaming: true },
      { idleTimeout: '1m' },
    ]) {
      const call = rig.fetch('http://127.0.0.1:1/', init as MeshFetchInit)
      await expect(call).rejects.toMatchObject({
        code: 'invalid-options',
        message: expect.stringContaining(Object.keys(init)[0]!),
      })
    }
    expect(await (await rig.fetch('data:text/plain,hello')).text()).toBe('hello')
  })

  it("has a reason of its own if the signal's implementation knows none", async () => {
    const rig = await rigWith(() => {})
    const signal = Object.assign(new EventTarget(), { aborted: true })
    await expect(rig.fetch('http://inventory/', { signal: signal as never })).rejects.toMatchObject({
      name: 'AbortError',
    })
  })
})

describe('an option of a door', () => {
  it.each<[string, (options: unknown) => unknown, Record<string, unknown[]>]>([
    [
      'mesh.http',
      checkClientOptions,
      {
        filters: [null, {}, [1], () => {}],
        collapse: [null, 'yes', 1],
        cache: [null, true, 0, 'long', '2h'],
        cashe: ['1s'],
      },
    ],
    ['mesh.fetchWith', checkFetchOptions, { passthrough: [null, 'yes', 1], passtrough: [true] }],
    ['mesh.dispatcher', checkDispatcherOptions, { fallback: [null, {}, 'a', () => {}], fallbak: [{}] }],
  ])('of %s is refused by its name', (_, check, wrong) => {
    for (const [key, values] of Object.entries(wrong)) {
      for (const value of values) expect(() => check({ [key]: value }), String(value)).toThrow(key)
    }
    for (const options of ['a', 5, []]) expect(() => check(options)).toThrow()
  })
})
