/**
 * The listeners that are fuzzed, and what an honest client says to each: the exchanges that are
 * mutated.
 */
import * as mux from '../mux/raw-mux.ts'
import { FLAG, frames } from '../rigs/raw-http2.ts'
import type { LoopReport } from './loop-meter.ts'

export const LISTENERS = [
  'http-strict',
  'http-permissive',
  'http-plaintext',
  'grpc-strict',
  'grpc-plaintext',
  'mux-http-strict',
  'mux-grpc-strict',
  'registry-h1',
  'registry-h2',
  'admin',
  'http-h2-strict',
  'http-h2-plaintext',
  'tcp-strict',
  'tcp-permissive',
  'tcp-target-strict',
] as const
export type ListenerName = (typeof LISTENERS)[number]

/** What the process under test tells. */
export interface TargetReport extends LoopReport {
  /** Errors that no one caught. */
  readonly uncaught: readonly string[]
}

export function isHttp2(name: ListenerName): boolean {
  return name.startsWith('grpc') || name.includes('h2')
}

/** `inmesh/1`. Its frames have the stream where those of HTTP/2 have it. */
export function isMux(name: ListenerName): boolean {
  return name.startsWith('mux')
}

export function isTcp(name: ListenerName): boolean {
  return name.startsWith('tcp')
}

/** Tried with the certificate of a service half of the time. */
export function speaksTls(name: ListenerName): boolean {
  return name.endsWith('strict') || name.startsWith('registry')
}

const text = (...lines: string[]): Buffer => Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')

const HTTP1: readonly Buffer[] = [
  text('GET /open/a HTTP/1.1', 'Host: inventory'),
  text(
    'GET /closed HTTP/1.1',
    'Host: inventory',
    'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  ),
  Buffer.concat([text('POST /open/a HTTP/1.1', 'Host: inventory', 'Content-Length: 5'), Buffer.from('hello')]),
  Buffer.concat([
    text('POST /open/a HTTP/1.1', 'Host: inventory', 'Transfer-Encoding: chunked', 'Trailer: x-end'),
    Buffer.from('5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\nx-end: 1\r\n\r\n'),
  ]),
  Buffer.concat([
    text('PUT /open/a HTTP/1.1', 'Host: inventory', 'Expect: 100-continue', 'Content-Length: 2'),
    Buffer.from('{}'),
  ]),
  text(
    'GET /open/ws HTTP/1.1',
    'Host: inventory',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
  ),
  text('CONNECT inventory:80 HTTP/1.1', 'Host: inventory:80'),
  text('OPTIONS * HTTP/1.1', 'Host: inventory', 'Connection: close'),
  text('GET /open/%2e%2e/x?a=b&eyJ-eyJ- HTTP/1.1', 'Host: inventory', 'inmesh-deadline: 1000', 'baggage: a=b,c=d;e'),
  text('GET / HTTP/1.0'),
]

const REGISTRY_H1: readonly Buffer[] = [
  text('GET /healthz HTTP/1.1', 'Host: localhost'),
  text('GET /v1/services?x=1 HTTP/1.1', 'Host: localhost', 'Authorization: Bearer inmesh-admin.a.b'),
  text('GET /v1/watch?service=a HTTP/1.1', 'Host: localhost', 'Accept: text/event-stream'),
  Buffer.concat([
    text('POST /v1/join HTTP/1.1', 'Host: localhost', 'Content-Type: application/json', 'Content-Length: 29'),
    Buffer.from('{"service":"a","csr":"-----"}'),
  ]),
  Buffer.concat([
    text(
      'PUT /v1/policies/a HTTP/1.1',
      'Host: localhost',
      'If-Match: "1"',
      'Expect: 100-continue',
      'Content-Length: 2',
    ),
    Buffer.from('{}'),
  ]),
  text('DELETE /v1/tokens/abc HTTP/1.1', 'Host: localhost', 'Origin: https://localhost'),
  text('CONNECT localhost:1 HTTP/1.1', 'Host: localhost:1'),
  text('GET /v1/session HTTP/1.1', 'Host: localhost', 'Connection: Upgrade', 'Upgrade: h2c'),
]

const ADMIN: readonly Buffer[] = [
  ...['/metrics', '/config', '/endpoints', '/events', '/healthz', '/x'].map((path) =>
    text(`GET ${path} HTTP/1.1`, 'Host: localhost'),
  ),
  Buffer.concat([
    text('POST /config HTTP/1.1', 'Host: 127.0.0.1', 'Expect: 100-continue', 'Content-Length: 1'),
    Buffer.from('x'),
  ]),
  text('GET /metrics HTTP/1.1', 'Host: localhost', 'Connection: Upgrade', 'Upgrade: x'),
]

const head = (method: string, path: string, more: Readonly<Record<string, string>> = {}) => ({
  ':method': method,
  ':scheme': 'https',
  ':path': path,
  ':authority': 'localhost',
  ...more,
})
const OPEN = FLAG.endHeaders
const GRPC_HEAD = { 'content-type': 'application/grpc', te: 'trailers', 'grpc-timeout': '1S' }
const MESSAGE = Buffer.from([0, 0, 0, 0, 3, 10, 1, 97])

/** Frames of one exchange on stream 1; stream ids are moved when it is sent. */
const GRPC: readonly Buffer[] = [
  ...['Get', 'Upload', 'Watch', 'Chat', 'None'].map((method) =>
    Buffer.concat([
      frames.headers(1, head('POST', `/shop.Inventory/${method}`, GRPC_HEAD), OPEN),
      frames.data(1, MESSAGE, FLAG.endStream),
    ]),
  ),
  Buffer.concat([
    frames.headers(1, head('POST', '/grpc.health.v1.Health/Watch', GRPC_HEAD), OPEN),
    frames.data(1, Buffer.alloc(5), FLAG.endStream),
    frames.reset(1),
  ]),
  Buffer.concat([
    frames.headers(1, head('POST', '/shop.Inventory/Chat', { ...GRPC_HEAD, expect: '100-continue' }), OPEN),
    frames.windowUpdate(1, 1_000),
    frames.data(1, MESSAGE),
    frames.headers(1, { 'x-trailer': 'a' }),
  ]),
  Buffer.concat([
    frames.headers(1, head('GET', '/x', { 'content-type': 'text/plain' })),
    frames.ping(),
    frames.priority(1),
  ]),
]

const REGISTRY_H2: readonly Buffer[] = [
  frames.headers(1, head('GET', '/v1/services')),
  frames.headers(1, head('GET', '/healthz', { expect: 'tea' })),
  Buffer.concat([
    frames.headers(1, head('POST', '/v1/join', { expect: '100-continue' }), OPEN),
    frames.data(1, Buffer.from('{"service":"a","csr":"-"}'), FLAG.endStream),
    frames.reset(1, 5),
  ]),
  Buffer.concat([
    frames.headers(1, head('POST', '/v1/session'), OPEN),
    frames.data(1, Buffer.from('{"type":"hello","protocol":1,"service":"checkout","process":"p"}\n')),
    frames.data(1, Buffer.from('{"type":"watch","service":"inventory"}\n{"type":"beat"}\n')),
    frames.data(
      1,
      Buffer.from('{"type":"register","ref":1,"instance":{"service":"checkout","id":"c","address":"127.1"}}\n'),
    ),
    frames.reset(1),
  ]),
  Buffer.concat([frames.headers(1, { ':method': 'CONNECT', ':authority': 'localhost' }, OPEN), frames.reset(1, 2)]),
  Buffer.concat([frames.settings({ 4: 0 }), frames.headers(1, head('GET', '/v1/bundle')), frames.goAway(0, 2)]),
]

const HOST = ['host', 'inventory'] as const
const MUX_HTTP: readonly Buffer[] = [
  mux.request(1, { path: '/open/a', headers: [HOST, ['accept', '*/*']] }),
  mux.request(1, {
    path: '/closed?a=b',
    headers: [HOST, ['traceparent', `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`]],
  }),
  mux.request(1, { method: 'POST', path: '/open/a', headers: [HOST, ['content-length', '5']], body: 'hello' }),
  Buffer.concat([
    mux.request(1, { method: 'PUT', path: '/open/a', headers: [HOST, ['expect', '100-continue']], flags: 0 }),
    mux.data(1, 'hello'),
    mux.trailers(1, [['x-end', '1']]),
  ]),
  Buffer.concat([mux.request(1, { method: 'POST', flags: 0 }), mux.data(1, 'a'), mux.reset(1), mux.ping()]),
  Buffer.concat([mux.request(1, { method: 'OPTIONS', path: '*' }), mux.window(1, 1_000), mux.window(0, 1_000)]),
  Buffer.concat([mux.request(1, { path: '/open/../x' }), mux.goAway(0)]),
]

const MUX_GRPC_HEAD: mux.Fields = [
  HOST,
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
  ['grpc-timeout', '1S'],
]
const MUX_GRPC: readonly Buffer[] = [
  ...['Get', 'Upload', 'Watch', 'Chat', 'None'].map((method) =>
    mux.request(1, { method: 'POST', path: `/shop.Inventory/${method}`, headers: MUX_GRPC_HEAD, body: MESSAGE }),
  ),
  Buffer.concat([
    mux.request(1, { method: 'POST', path: '/shop.Inventory/Chat', headers: MUX_GRPC_HEAD, flags: 0 }),
    mux.data(1, MESSAGE.subarray(0, 3)),
    mux.data(1, MESSAGE.subarray(3)),
    mux.data(1, MESSAGE, mux.END),
  ]),
  Buffer.concat([
    mux.request(1, {
      method: 'POST',
      path: '/grpc.health.v1.Health/Watch',
      headers: MUX_GRPC_HEAD,
      body: Buffer.alloc(5),
    }),
    mux.reset(1),
  ]),
]

const HTTP2: readonly Buffer[] = [
  frames.headers(1, head('GET', '/open/a')),
  frames.headers(1, head('GET', '/closed', { cookie: 'a=b', te: 'trailers', 'inmesh-timeout-ms': '1000' })),
  frames.headers(1, head('HEAD', '/open/%2e%2e/x?a=b', { host: 'localhost', baggage: 'a=b,c=d;e' })),
  Buffer.concat([
    frames.headers(1, head('POST', '/open/a', { 'content-length': '5' }), OPEN),
    frames.data(1, Buffer.from('hello'), FLAG.endStream),
  ]),
  Buffer.concat([
    frames.headers(1, head('PUT', '/open/a', { expect: '100-continue', trailer: 'x-end' }), OPEN),
    frames.data(1, Buffer.from('hello')),
    frames.windowUpdate(1, 1_000),
    frames.headers(1, { 'x-end': '1' }),
  ]),
  Buffer.concat([
    frames.headers(1, head('POST', '/open/a'), OPEN),
    frames.data(1, Buffer.from('hello')),
    frames.reset(1, 8),
    frames.ping(),
  ]),
  Buffer.concat([frames.settings({ 3: 10, 4: 0 }), frames.headers(1, head('GET', '/open/a')), frames.priority(1)]),
  Buffer.concat([frames.headers(1, head('OPTIONS', '*')), frames.goAway(0, 2)]),
  Buffer.concat([
    frames.headers(1, { ':method': 'CONNECT', ':authority': 'localhost:1' }, OPEN),
    frames.data(1, Buffer.from('x')),
  ]),
]

/** As of Redis, what a server would greet with, and the beginning of TLS within the stream. */
const TCP: readonly Buffer[] = [
  Buffer.from('*1\r\n$4\r\nPING\r\n'),
  Buffer.from([0]),
  Buffer.from([1, 255, 97, 98]),
  Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]),
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.alloc(4_096, 'x'),
]

export const EXCHANGES: Readonly<Record<ListenerName, readonly Buffer[]>> = {
  'http-strict': HTTP1,
  'http-permissive': HTTP1,
  'http-plaintext': HTTP1,
  'grpc-strict': GRPC,
  'grpc-plaintext': GRPC,
  'mux-http-strict': MUX_HTTP,
  'mux-grpc-strict': MUX_GRPC,
  'registry-h1': REGISTRY_H1,
  'registry-h2': REGISTRY_H2,
  admin: ADMIN,
  'http-h2-strict': HTTP2,
  'http-h2-plaintext': HTTP2,
  'tcp-strict': TCP,
  'tcp-permissive': TCP,
  'tcp-target-strict': TCP,
}
