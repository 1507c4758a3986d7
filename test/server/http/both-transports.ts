/** One handler behind HTTP/1.1 and behind `inmesh/1`: what its clients and its listeners see. */
import {
  Agent,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { expect, onTestFinished } from 'vitest'
import { compileIntentions } from '../../../src/server/authorization/intentions.ts'
import type { HttpHandler } from '../../../src/server/http/application.ts'
import type { HttpServerOptions } from '../../../src/server/http/options.ts'
import { type HttpServer, serveHttp } from '../../../src/server/http/server.ts'
import { MuxClient } from '../../rigs/mux-client.ts'
import { serverStack } from '../server-stack.ts'

export type Handler = (request: IncomingMessage, response: ServerResponse, note: (what: unknown) => void) => unknown

export interface Sent {
  readonly method?: string
  readonly path?: string
  readonly headers?: Record<string, string>
  /** Each part is sent in a separate turn. Without parts there is no body. */
  readonly parts?: readonly (string | Buffer)[]
  readonly trailers?: Record<string, string>
  /** Cuts the exchange off: after the head of the answer, or when the handler notes this. */
  readonly cutAt?: 'head' | string
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

/** They speak of a connection of HTTP/1.1, or differ from run to run. */
const IGNORED = new Set(['connection', 'keep-alive', 'transfer-encoding', 'date'])

function comparable(headers: IncomingHttpHeaders | Record<string, unknown>): Record<string, unknown> {
  const dated = headers.date === undefined ? {} : { date: 'some' }
  return { ...Object.fromEntries(Object.entries(headers).filter(([name]) => !IGNORED.has(name))), ...dated }
}

type Client = (port: number, sent: Sent, noted: (what: string) => Promise<void>) => Promise<Seen | 'cut'>

const overHttp: Client = (port, { parts, trailers, cutAt, ...sent }, noted) =>
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
  await expect.poll(() => server.stats.inFlight).toBe(0)
  // What follows the end in later turns.
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  return { answer, notes, failures }
}

/** Runs both, expects the same of them, and returns what that is. */
export async function alikeApp(make: MakeApp, sent: Sent = {}): Promise<Run> {
  const http = await run(overHttp, make, sent)
  const mux = await run(overMux, make, sent)
  expect(mux).toEqual(http)
  return mux
}

export function alike(handler: Handler, sent: Sent = {}): Promise<Run> {
  return alikeApp((note) => (request, response) => handler(request, response, note), sent)
}
