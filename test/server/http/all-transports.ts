/**
 * One handler behind HTTP/1.1, `inmesh/1` and HTTP/2. Clients see the same over all three,
 * listeners over the first two: in HTTP/2, `finish` comes when Node has sent the last frame.
 */
import {
  Agent,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { connect, constants } from 'node:http2'
import { expect, onTestFinished } from 'vitest'
import { compileIntentions } from '../../../src/server/authorization/intentions.ts'
import type { HttpHandler } from '../../../src/server/http/application.ts'
import type { HttpServerOptions } from '../../../src/server/http/options.ts'
import { type HttpServer, serveHttp } from '../../../src/server/http/server.ts'
import { MuxClient } from '../../rigs/mux-client.ts'
import { serverStack } from '../server-stack.ts'
import { answerOf } from './http2-rig.ts'

export type Note = (what: unknown) => void
export type Handler = (request: IncomingMessage, response: ServerResponse, note: Note) => unknown

export interface Sent {
  readonly method?: string
  readonly path?: string
  readonly headers?: Record<string, string>
  /** Each part is sent in a separate turn. Without parts there is no body. */
  readonly parts?: readonly (string | Buffer)[]
  readonly trailers?: Record<string, string>
  /** Cuts the exchange off: after the head of the answer, or when the handler notes this. */
  readonly cutAt?: 'head' | string
  /** HTTP/2 has no such answer. */
  readonly notOverHttp2?: boolean
  /** The client has its answer. */
  readonly answered?: () => void
}

export interface Seen {
  readonly status: number
  readonly reason: string
  readonly headers: Record<string, unknown>
  readonly body: string
  readonly trailers: Record<string, unknown>
  readonly informational: readonly unknown[]
}

export interface Run {
  readonly answer: Seen | 'cut'
  /** What the handler noted, in order. */
  readonly notes: readonly unknown[]
  readonly failures: readonly string[]
}

/** Node 22 derives it from the socket: whether the system took all at once, before `finish`. */
const FINISHED_BY_SOCKET = Object.assign(new ServerResponse({ method: 'GET' } as IncomingMessage), {
  finished: true,
}).writableFinished

/** Notes each event of both with what their flags say then. */
export function watch(request: IncomingMessage, response: ServerResponse, note: Note): void {
  for (const event of ['data', 'end', 'aborted', 'error', 'close']) {
    request.on(event, (given) => {
      const { complete, aborted, destroyed, readableEnded } = request
      note(['request', event, codeOf(given), { complete, aborted, destroyed, readableEnded }])
    })
  }
  for (const event of ['prefinish', 'finish', 'error', 'close', 'drain']) {
    response.on(event, (given) => {
      const { headersSent, writableEnded, destroyed } = response
      const writableFinished = event === 'prefinish' && FINISHED_BY_SOCKET ? undefined : response.writableFinished
      note(['response', event, codeOf(given), { headersSent, writableEnded, writableFinished, destroyed }])
    })
  }
}

function codeOf(given: unknown): unknown {
  return given instanceof Error ? ((given as { code?: string }).code ?? given.message) : undefined
}

/** They speak of a connection of HTTP/1.1, or differ from run to run. */
const IGNORED = new Set(['connection', 'keep-alive', 'transfer-encoding', 'date'])

function comparable(headers: IncomingHttpHeaders | Record<string, unknown>): Record<string, unknown> {
  const dated = headers.date === undefined ? {} : { date: 'some' }
  return { ...Object.fromEntries(Object.entries(headers).filter(([name]) => !IGNORED.has(name))), ...dated }
}

type Client = (port: number, sent: Sent, noted: (what: string) => Promise<void>) => Promise<Seen | 'cut'>

const overHttp: Client = (port, { parts, trailers, cutAt, answered: _, notOverHttp2: __, ...sent }, noted) =>
  new Promise((resolve) => {
    const informational: unknown[] = []
    const agent = new Agent({ keepAlive: true })
    onTestFinished(() => agent.destroy())
    const request = httpRequest({ port, host: '127.0.0.1', agent, ...sent })
    const cut = (): void => resolve('cut')
    request.on('error', cut)
    request.on('information', ({ statusCode, headers }) => informational.push([statusCode, comparable(headers)]))
    request.on('response', (response) => {
      if (cutAt === 'head') request.destroy()
      let body = ''
      response
        .setEncoding('utf8')
        .on('error', cut)
        .on('data', (part) => {
          body += part
        })
      response.on('end', () => {
        const { statusCode: status = 0, statusMessage: reason = '', headers } = response
        resolve({ status, reason, headers: comparable(headers), body, trailers: response.trailers, informational })
      })
    })
    if (cutAt !== undefined && cutAt !== 'head') void noted(cutAt).then(() => request.destroy())
    if (parts === undefined) request.end()
    else {
      if (trailers !== undefined) request.addTrailers(trailers)
      request.flushHeaders()
      void sendInTurns(parts, (part) => request.write(part)).then(() => cutAt ?? request.end())
    }
  })

const overMux: Client = async (port, { parts, trailers, cutAt, ...sent }, noted) => {
  const client = await MuxClient.open(port)
  const answer = client.ask({ ...sent, open: parts !== undefined })
  if (cutAt !== undefined && cutAt !== 'head') void noted(cutAt).then(() => client.close())
  if (parts !== undefined) {
    void sendInTurns(parts, (part) => answer.stream.write(part)).then(() =>
      cutAt === undefined ? answer.stream.end(trailers && Object.entries(trailers).flat()) : undefined,
    )
  }
  try {
    await answer.head
    if (cutAt === 'head') client.close()
    const { status, reason, headers, body } = await answer.done
    return {
      status,
      reason: reason === '' ? (STATUS_CODES[status] ?? '') : reason,
      headers: comparable(headers),
      body,
      trailers: objectOf(answer.trailers ?? []),
      informational: answer.informational.map((one) => [one.status, comparable(objectOf(one.headers))]),
    }
  } catch {
    return 'cut'
  } finally {
    client.close()
  }
}

const overHttp2: Client = async (port, { parts, trailers, cutAt, headers, ...sent }, noted) => {
  const session = connect(`http://127.0.0.1:${port}`)
  onTestFinished(() => session.destroy())
  session.on('error', () => {})
  const { method = 'GET', path = '/' } = sent
  const stream = session.request(
    { ':method': method, ':path': path, ...headers },
    { endStream: parts === undefined, waitForTrailers: trailers !== undefined },
  )
  if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers))
  const informational: unknown[] = []
  stream.on('headers', (one) => informational.push([one[':status'], comparable(withoutPseudo(one))]))
  const answer = answerOf(stream)
  const cut = (): void => stream.close(constants.NGHTTP2_CANCEL)
  if (cutAt === 'head') stream.once('response', cut)
  else if (cutAt !== undefined) void noted(cutAt).then(cut)
  if (parts !== undefined) void sendInTurns(parts, (part) => stream.write(part)).then(() => cutAt ?? stream.end())
  const { status = 0, headers: given, body, trailers: last = {}, code } = await answer
  session.destroy()
  if (status === 0 || code !== 0) return 'cut'
  return {
    status,
    reason: '',
    headers: comparable(withoutPseudo(given)),
    body,
    trailers: withoutPseudo(last),
    informational,
  }
}

function withoutPseudo(headers: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':')))
}

async function sendInTurns(parts: readonly (string | Buffer)[], send: (part: string | Buffer) => void): Promise<void> {
  for (const part of parts) {
    await new Promise((resolve) => setImmediate(resolve))
    send(part)
  }
}

function objectOf(flat: readonly string[]): Record<string, string> {
  const made: Record<string, string> = {}
  for (let i = 0; i < flat.length; i += 2) made[flat[i]!] = flat[i + 1]!
  return made
}

export async function serveBoth(
  handler: HttpHandler,
  failures: string[],
  options: HttpServerOptions = {},
): Promise<HttpServer> {
  const server = await serveHttp(
    handler,
    { mode: 'plaintext', ...options },
    {
      service: 'inventory',
      authorizer: compileIntentions([], 'allow'),
      stack: serverStack(),
      transport: 'auto',
      onHandlerError: (error) => failures.push(String((error as { code?: string }).code ?? error)),
    },
  )
  onTestFinished(async () => {
    await server.close()
  })
  return server
}

type MakeApp = (note: (what: unknown) => void) => HttpHandler

async function run(client: Client, make: MakeApp, sent: Sent): Promise<Run> {
  const notes: unknown[] = []
  const failures: string[] = []
  const waiting = new Map<unknown, () => void>()
  const note = (what: unknown): void => {
    notes.push(what)
    waiting.get(what)?.()
  }
  const noted = (what: string): Promise<void> =>
    notes.includes(what) ? Promise.resolve() : new Promise((resolve) => waiting.set(what, resolve))
  const server = await serveBoth(make(note), failures)
  const answer = await client(server.port, sent, noted)
  sent.answered?.()
  await expect.poll(() => server.stats.inFlight).toBe(0)
  // What follows the end in later turns.
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  return { answer, notes, failures }
}

/** HTTP/2 has none. */
function withoutReason(answer: Seen | 'cut'): Partial<Seen> | 'cut' {
  if (answer === 'cut') return answer
  const { reason: _, ...rest } = answer
  return rest
}

/** Runs all, expects the same of them, and returns what that is. */
export async function alikeApp(make: MakeApp, sent: Sent = {}): Promise<Run> {
  const http = await run(overHttp, make, sent)
  const mux = await run(overMux, make, sent)
  expect(mux).toEqual(http)
  if (sent.notOverHttp2 === true) return mux
  const http2 = await run(overHttp2, make, sent)
  expect([withoutReason(http2.answer), http2.failures]).toEqual([withoutReason(http.answer), http.failures])
  return mux
}

export function alike(handler: Handler, sent: Sent = {}): Promise<Run> {
  return alikeApp((note) => (request, response) => handler(request, response, note), sent)
}
