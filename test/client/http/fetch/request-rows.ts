/** Rows of the table of `fetch`: what is asked. */
import { inspect } from 'node:util'
import type { MeshFetchInit } from '../../../../src/client/http/fetch/init.ts'
import { observe, type Row, seen } from './doors.ts'

const HELLO_SHA256 = 'sha256-LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ='

function form(): FormData {
  const data = new FormData()
  data.append('a', '1')
  data.append('f', new Blob(['hello'], { type: 'text/x' }), 'h.txt')
  return data
}

const post = (body: unknown, more?: object): MeshFetchInit => ({ method: 'POST', body: body as string, ...more })

export const REQUEST_ROWS: Row[] = [
  ...['GET', 'get', 'DELETE', 'OPTIONS', 'PUT', 'put', 'POST', 'PATCH'].map((method): Row => {
    return [`method ${method}`, (door) => seen(door.fetch('/mirror', { method }))]
  }),
  ...['CONNECT', 'TRACE', 'track', 'G E T', ''].map((method): Row => {
    return [`method '${method}' is refused`, (door) => observe(() => door.fetch('/mirror', { method }))]
  }),
  ...Object.entries<() => unknown>({
    text: () => 'hello ü',
    'no text': () => '',
    'a String': () => new String('hello ü'),
    bytes: () => new Uint8Array([0, 255]),
    'an ArrayBuffer': () => new Uint8Array([1, 2]).buffer,
    'a view': () => new DataView(new Uint8Array([1, 2, 3]).buffer, 1),
    URLSearchParams: () => new URLSearchParams({ a: '1 2' }),
    'a Blob': () => new Blob(['hello'], { type: 'text/x' }),
    'a Blob without a type': () => new Blob(['hello']),
    null: () => null,
  }).map(([name, body]): Row => [`body: ${name}`, (door) => seen(door.fetch('/mirror', post(body())))]),
  [
    'body: a ReadableStream',
    (door) => seen(door.fetch('/mirror', post(new Blob(['hello']).stream(), { duplex: 'half' }))),
  ],
  [
    'body: a form',
    async (door) => {
      const { type, body } = await seen(door.fetch('/mirror', post(form())))
      const boundary = /boundary=(.*)$/.exec(String(type))![1]!
      // The last boundary ends the body: a line break after it, as of Node 24, means nothing.
      return [String(type).replace(boundary, ''), String(body).replaceAll(boundary, '').trimEnd()]
    },
  ],
  ['a body with GET', (door) => observe(() => door.fetch('/mirror', { body: 'a' }))],
  ['an empty body with HEAD', (door) => observe(() => door.fetch('/mirror', { method: 'HEAD', body: '' }))],
  ['own content type', (door) => seen(door.fetch('/mirror', post('a', { headers: { 'Content-Type': 'a/b' } })))],
  ...Object.entries<() => unknown>({
    'an object': () => ({ 'X-A': '1' }),
    pairs: () => [['X-A', '1']],
    Headers: () => new Headers({ 'X-A': '1' }),
    'a Map': () => new Map([['x-a', '1']]),
    'twice the same': () => [
      ['x-a', '1'],
      ['X-A', '2'],
    ],
    'a number': () => ({ 'x-a': 1 }),
    inherited: () => Object.create({ 'x-a': '1' }),
    'a symbol': () => ({ [Symbol('x-a')]: '1' }),
    'spaces around': () => ({ 'x-a': '  1  ' }),
    'a line end behind': () => ({ 'x-a': '1\r\n' }),
    'a line end within': () => ({ 'x-a': '1\r\n2' }),
    'a zero byte': () => ({ 'x-a': '1\u00002' }),
    'more than Latin-1': () => ({ 'x-a': '\u20ac' }),
    'a name with a space': () => ({ 'x a': '1' }),
    'no name': () => ({ '': '1' }),
    'a list of three': () => [['x-a', '1', '2']],
    text: () => 'x-a: 1',
    null: () => null,
  }).map(([name, headers]): Row => {
    return [`headers: ${name}`, (door) => observe(() => seen(door.fetch('/mirror', { headers: headers() as never })))]
  }),
  ['accept', async (door) => JSON.parse(await (await door.fetch('/mirror')).text()).headers.accept],
  [
    'a Request',
    async (door) => {
      const request = door.request('/mirror', { method: 'POST', body: 'a', headers: { 'x-a': '1' } })
      const { method, body, type, mine } = await seen(door.fetchRequest(request))
      return [method, body, type, mine]
    },
  ],
  [
    'a Request and an init',
    (door) => {
      const request = door.request('/mirror', { method: 'POST', body: 'a', headers: { 'x-a': '1' } })
      return seen(door.fetchRequest(request, { method: 'PUT', body: 'b', headers: { 'x-a': '2' } }))
    },
  ],
  [
    'a Request is used up',
    async (door) => {
      const request = door.request('/mirror', { method: 'POST', body: 'a' })
      const first = await seen(door.fetchRequest(request))
      return [first.body, request.bodyUsed, await observe(() => door.fetchRequest(request))]
    },
  ],
  [
    "a Request's signal, and null in its place",
    async (door) => {
      const controller = new AbortController()
      controller.abort()
      const request = door.request('/hello', { signal: controller.signal })
      return [
        await observe(() => door.fetchRequest(request)),
        await observe(async () => (await door.fetchRequest(request, { signal: null })).status),
      ]
    },
  ],
]

export const INIT_ROWS: Row[] = [
  ["redirect 'manual'", async (door) => (await door.fetch('/moved', { redirect: 'manual' })).headers.get('location')],
  ["redirect 'error'", (door) => observe(() => door.fetch('/moved', { redirect: 'error' }))],
  ["redirect 'error' without one", async (door) => (await door.fetch('/hello', { redirect: 'error' })).status],
  [
    "redirect 'error' of a Request",
    (door) => observe(() => door.fetchRequest(door.request('/moved', { redirect: 'error' }))),
  ],
  ...[
    HELLO_SHA256,
    `sha256-AAAA ${HELLO_SHA256}`,
    'sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=',
    `${HELLO_SHA256} sha512-AAAA`,
    '',
  ].map((integrity): Row => {
    return [`integrity ${integrity}`, (door) => observe(async () => (await door.fetch('/hello', { integrity })).text())]
  }),
  ...(['default', 'no-store', 'reload', 'no-cache', 'force-cache'] as const).map((cache): Row => {
    return [
      `cache ${cache}`,
      async (door) => {
        const { headers } = JSON.parse(await (await door.fetch('/mirror', { cache })).text())
        return [headers['cache-control'], headers.pragma]
      },
    ]
  }),
  ...Object.entries<unknown[]>({
    mode: ['cors', 'navigate', 'nonsense', null],
    credentials: ['omit', 'same-origin', 'include', 'nonsense'],
    cache: ['nonsense', 'only-if-cached', null],
    redirect: ['nonsense', null, 1],
    referrer: ['', 'about:client'],
    referrerPolicy: ['', 'no-referrer', 'origin', 'nonsense'],
    keepalive: [true, false, undefined],
    duplex: ['half', 'full'],
    window: [null, 'a', {}],
    signal: [null, undefined, 'a', {}, new EventTarget()],
    headers: [undefined],
  }).flatMap(([key, values]) => {
    return values.map((value): Row => {
      const init = { [key]: value } as MeshFetchInit
      return [`${key}: ${inspect(value)}`, (door) => observe(async () => (await door.fetch('/hello', init)).status)]
    })
  }),
  [
    'init of a class with getters',
    (door) => {
      class Init {
        get method(): string {
          return 'PUT'
        }
        get credentials(): string {
          return 'nonsense'
        }
      }
      return observe(() => door.fetch('/mirror', new Init() as never))
    },
  ],
  ['init null', async (door) => (await door.fetch('/hello', null as never)).status],
  ['init as text', (door) => observe(() => door.fetch('/hello', 'POST' as never))],
  [
    'a Request as init',
    (door) => seen(door.fetch('/mirror', door.request('/x', { method: 'PUT', headers: { 'x-a': '1' } }) as never)),
  ],
]
