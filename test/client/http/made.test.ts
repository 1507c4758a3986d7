/**
 * A request is what it was when the call was made, whatever its caller does with its parts
 * meanwhile.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { describe, expect, it } from 'vitest'
import { makeDispatcher } from '../../../src/client/http/dispatcher/dispatcher.ts'
import type { HttpFilter } from '../../../src/client/http/options.ts'
import type { HttpRequestOptions } from '../../../src/client/http/request-options.ts'
import { opened, rigOver } from './opened.ts'
import { type Rig, type RigOptions, TestServer } from './rig.ts'

interface Seen {
  readonly url: string | undefined
  readonly tag: string | string[] | undefined
  readonly type: string | undefined
  readonly body: string
}

/** The first request is answered with 503, its repetition with 200. */
async function failingOnce(options?: RigOptions): Promise<{ rig: Rig; seen: Seen[] }> {
  const seen: Seen[] = []
  const server = await new TestServer(async (req, res) => {
    let body = ''
    for await (const part of req) body += String(part)
    seen.push({ url: req.url, tag: req.headers['x-tag'], type: req.headers['content-type'], body })
    res.writeHead(seen.length === 1 ? 503 : 200).end()
  }).listen()
  opened(server)
  return { rig: await rigOver([server.port, server.port], options), seen }
}

/** One that asks for a token before it goes on, as many do. */
const waits: HttpFilter = async (req, call, next) => {
  await sleep(5)
  return next(req, call)
}

const HELLO = Buffer.from('hello')
const bytes = (): Uint8Array<ArrayBuffer> => new Uint8Array(HELLO)

/** A part of a request, how its caller changes it, and what is to be seen of it. */
interface Part {
  readonly given: HttpRequestOptions
  readonly change: () => void
  readonly sent: Partial<Seen>
}

const BODIES: Record<string, () => Part> = {
  'a Buffer': () => {
    const body = Buffer.from(HELLO)
    return { given: { body }, change: () => void body.fill('x'), sent: { body: 'hello', type: undefined } }
  },
  'a Uint8Array': () => {
    const body = bytes()
    return { given: { body }, change: () => void body.fill(0), sent: { body: 'hello' } }
  },
  'a part of an ArrayBuffer': () => {
    const all = new Uint8Array(Buffer.from('a hello!'))
    const body = new DataView(all.buffer, 2, 5)
    return { given: { body }, change: () => void all.fill(0), sent: { body: 'hello' } }
  },
  'an ArrayBuffer that is given away': () => {
    const body = bytes().buffer
    return { given: { body }, change: () => void structuredClone(body, { transfer: [body] }), sent: { body: 'hello' } }
  },
  parameters: () => {
    const body = new URLSearchParams({ a: '1' })
    const type = 'application/x-www-form-urlencoded;charset=UTF-8'
    return { given: { body }, change: () => body.set('a', '2'), sent: { body: 'a=1', type } }
  },
  'a list of parts': () => {
    const part = bytes()
    const body = [part, '!']
    const change = (): void => {
      part.fill(0)
      body.push('more')
    }
    return { given: { body }, change, sent: { body: 'hello!' } }
  },
}

const MORE: Record<string, () => Part> = {
  json: () => {
    const json = { list: ['a'], at: new Date(0) }
    const sent = { body: '{"list":["a"],"at":"1970-01-01T00:00:00.000Z"}', type: 'application/json' }
    return { given: { json }, change: () => void json.list.push('b'), sent }
  },
  'an object of headers': () => {
    const tags = ['a', 'b']
    return { given: { headers: { 'x-tag': tags } }, change: () => void tags.push('c'), sent: { tag: 'a, b' } }
  },
  Headers: () => {
    const headers = new Headers({ 'x-tag': 'a' })
    return { given: { headers }, change: () => headers.set('x-tag', 'b'), sent: { tag: 'a' } }
  },
  'pairs of headers': () => {
    const pair: [string, string] = ['x-tag', 'a']
    return { given: { headers: [pair] }, change: () => void pair.fill('x-other'), sent: { tag: 'a' } }
  },
  'a query': () => {
    const q = ['a']
    return { given: { query: { q } }, change: () => void q.fill('b'), sent: { url: '/?q=a' } }
  },
  'parameters of a query': () => {
    const query = new URLSearchParams({ q: 'a' })
    return { given: { query }, change: () => query.set('q', 'b'), sent: { url: '/?q=a' } }
  },
  options: () => {
    const given = { body: 'hello', headers: { 'x-tag': 'a' }, retry: undefined as false | undefined }
    const change = (): void => void Object.assign(given, { body: 'bye', headers: {}, retry: false })
    return { given, change, sent: { body: 'hello', tag: 'a' } }
  },
}

const DOORS: Record<string, readonly [(rig: Rig, part: HttpRequestOptions) => Promise<unknown>, RigOptions?]> = {
  'mesh.http': [(rig, given) => rig.http.request('PUT', '/', given)],
  'mesh.http with a filter that waits': [(rig, given) => rig.http.request('PUT', '/', given), { filters: [waits] }],
  'mesh.fetch': [
    (rig, { body, headers }) =>
      rig.fetch('http://inventory/', { method: 'PUT', body: body!, headers: headers as Headers }),
  ],
  'mesh.dispatcher': [
    (rig, { body, headers }) => {
      const dispatcher = opened(makeDispatcher((name) => (name === 'inventory' ? rig : undefined)))
      return request('http://inventory.mesh/', {
        method: 'PUT',
        body: body as string,
        headers: headers as Headers,
        dispatcher,
      })
    },
  ],
}

const takesAll = (door: string): boolean => door.startsWith('mesh.http')
const ROWS = Object.keys(DOORS).flatMap((door) =>
  Object.keys(takesAll(door) ? { ...BODIES, ...MORE } : BODIES).map((part) => [door, part] as const),
)

describe('what a caller changes after the call changes no attempt of it', () => {
  it.each(ROWS)('%s: %s', async (door, part) => {
    const [put, options] = DOORS[door]!
    const { rig, seen } = await failingOnce(options)
    const { given, change, sent } = { ...BODIES, ...MORE }[part]!()
    const answered = put(rig, given)
    change()
    await answered
    expect(seen).toMatchObject([sent, sent])
  })
})

describe('a filter', () => {
  it('may change the request it is given, and never changes what the caller has', async () => {
    const { rig, seen } = await failingOnce({
      filters: [
        (req, call, next) => {
          ;(req.json as { by?: string }).by = 'filter'
          ;(req.headers as Record<string, string>)['x-tag'] = 'filter'
          return next(req, call)
        },
      ],
    })
    const json = {}
    const headers = {}
    await rig.http.put('/', json, { headers })
    expect(seen[0]).toMatchObject({ body: '{"by":"filter"}', tag: 'filter' })
    expect([json, headers]).toEqual([{}, {}])
  })
})
