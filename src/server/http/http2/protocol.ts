/**
 * HTTP/2 on the port of an HTTP server, for gateways and other foreign peers: a `node:http2` server
 * that never listens opens sessions on accepted connections.
 */
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { RequestScope } from '../../../core/context.ts'
import { GUARDED_SERVER } from '../../../net/http2-flood-guard.ts'
import type { AcceptorHost } from '../../acceptor.ts'
import type { Connection } from '../../connection.ts'
import { NewStreams } from '../../http2/new-streams.ts'
import { Http2Protocol } from '../../http2/protocol.ts'
import type { HttpServerSettings } from '../options.ts'
import type { ServedStream } from '../served-stream.ts'
import { refuseRequests } from './refusal.ts'
import { readRequestLines } from './request-lines.ts'
import { Http2Stream } from './stream.ts'

export interface HttpOverHttp2Host extends AcceptorHost {
  /** A new stream; sets its `events`. `problem`: why its head is refused. Must not throw. */
  streamOpened(
    connection: Connection,
    stream: ServedStream,
    method: string,
    path: string,
    headers: string[],
    end: boolean,
    problem: string | undefined,
  ): void
  /** Twice a second. */
  swept(now: number): void
}

/** Streams of one connection at once: the default of Go. Each is a handler in flight. */
const MAX_STREAMS = 250
/** As of HTTP/1.1, whose parser takes 16 KB, and 32 bytes for each line (RFC 9113, 6.5.2). */
const HEAD_BYTES = 16_384
const BYTES_PER_LINE = 32
/** `:method`, `:scheme`, `:authority`, `:path`. */
const PSEUDO_HEADERS = 4
/** A silent connection is pinged after this time, as by gRPC servers. */
const KEEPALIVE_MS = 20_000
/** A handler may repeat any header, as over HTTP/1.1. Not in the typings. */
const AS_HTTP1 = { strictSingleValueFields: false } as const
/** As over HTTP/1.1, an answer in progress is never cut off for the age of its connection. */
const STREAM_GRACE_MS = Number.POSITIVE_INFINITY

export function httpOverHttp2(host: HttpOverHttp2Host, settings: HttpServerSettings): Http2Protocol {
  const { headersTimeout, keepAliveTimeout, maxHeaders } = settings
  // A head with some more lines is answered with 431; its bytes are bounded anyway.
  const mostLines = 2 * maxHeaders
  const server = createServer({
    ...GUARDED_SERVER,
    ...AS_HTTP1,
    maxHeaderListPairs: mostLines + PSEUDO_HEADERS,
    settings: {
      maxConcurrentStreams: MAX_STREAMS,
      maxHeaderListSize: HEAD_BYTES + mostLines * BYTES_PER_LINE,
      enableConnectProtocol: false,
    },
  })
  const scope = new RequestScope()
  const streams = new NewStreams((connection, { stream, raw }) => {
    const served = new Http2Stream(stream)
    const { method, path, headers, problem } = readRequestLines(raw)
    scope.run(() => {
      host.streamOpened(connection, served, method, path, headers, served.remoteEnded, problem)
      served.start()
    })
  })
  server.on(
    'stream',
    (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw: readonly string[]) =>
      streams.add({ stream, headers, raw }),
  )
  const session = { headersTimeout, keepalive: KEEPALIVE_MS, streamGrace: STREAM_GRACE_MS, idle: keepAliveTimeout }
  const { clock, events } = host
  const inject = (socket: Socket): void => void server.emit('connection', socket)
  const swept = (now: number): void => host.swept(now)
  return new Http2Protocol({ clock, events, inject, swept, refusal: refuseRequests }, session, server)
}
