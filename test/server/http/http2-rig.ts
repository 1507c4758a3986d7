/** Clients of HTTP/2, none of which knows of meshes. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2'
import { onTestFinished } from 'vitest'
import { FRAME, RawHttp2 } from '../../rigs/raw-http2.ts'
import { authority, TRUSTING } from '../rig.ts'

export interface Certificate {
  readonly key: string
  readonly cert: string
}

/** Closed when the test ends. Plaintext without a certificate. */
export function open(port: number, as?: Certificate, options: SecureClientSessionOptions = {}): ClientHttp2Session {
  const scheme = as === undefined ? 'http' : 'https'
  const session = connect(`${scheme}://127.0.0.1:${port}`, {
    ...(as !== undefined && { ...as, ...TRUSTING }),
    ...options,
  })
  session.on('error', () => {})
  onTestFinished(() => session.destroy())
  return session
}

export interface Http2Answer {
  readonly status: number | undefined
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: string
  readonly trailers: Record<string, string | string[] | undefined> | undefined
  /** Informational heads. */
  readonly informed: readonly number[]
  /** The code of RST_STREAM; 0 after a whole answer. */
  readonly code: number
}

export interface Http2Asked {
  readonly headers?: OutgoingHttpHeaders
  readonly body?: string | Uint8Array
  readonly trailers?: Record<string, string>
}

/** Begins a request, and leaves its body open. */
export function begin(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}): ClientHttp2Stream {
  const stream = session.request({ ':authority': 'inventory', ':path': '/', ...headers }, { endStream: false })
  stream.on('error', () => {})
  return stream
}

export function ask(session: ClientHttp2Session, { headers, body, trailers }: Http2Asked = {}): Promise<Http2Answer> {
  const method = body === undefined ? 'GET' : 'POST'
  const stream = session.request(
    { ':authority': 'inventory', ':path': '/', ':method': method, ...headers },
    { endStream: body === undefined, waitForTrailers: trailers !== undefined },
  )
  if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers))
  if (body !== undefined) stream.end(body)
  return answerOf(stream)
}

export function answerOf(stream: ClientHttp2Stream): Promise<Http2Answer> {
  let headers: Http2Answer['headers'] = {}
  let trailers: Http2Answer['trailers']
  const informed: number[] = []
  const parts: Buffer[] = []
  stream.on('error', () => {})
  stream.on('headers', (given) => informed.push(given[':status']!))
  stream.on('response', (given) => {
    headers = { ...given }
  })
  stream.on('trailers', (given) => {
    trailers = { ...given }
  })
  stream.on('data', (part: Buffer) => parts.push(part))
  return new Promise((resolve) => {
    stream.on('close', () => {
      const status = headers[':status'] as number | undefined
      resolve({
        status,
        headers,
        body: Buffer.concat(parts).toString(),
        trailers,
        informed,
        code: stream.rstCode ?? 0,
      })
    })
  })
}

/** A connection for raw frames, with its SETTINGS exchanged. Closed when the test ends. */
export async function rawHttp2(port: number, as?: Certificate): Promise<RawHttp2> {
  const tls = { ...as, ca: authority.certificate, checkServerIdentity: () => undefined }
  const raw = await RawHttp2.connect(port, as === undefined ? undefined : tls)
  onTestFinished(() => raw.close())
  await raw.frame(({ type }) => type === FRAME.settings)
  return raw
}

/** Headers of a request, for frames by hand. */
export function requestHeaders(path = '/', more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { ':method': 'GET', ':scheme': 'http', ':path': path, ':authority': 'inventory', ...more }
}
