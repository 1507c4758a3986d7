/** A server without a mesh, and clients that can misbehave. */
import { request as plainRequest } from 'node:http'
import { type Agent as SecureAgent, request as secureRequest } from 'node:https'
import { connect, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { inject, it, onTestFinished } from 'vitest'
import type { Identity, IdentitySource } from '../../src/identity/identity.ts'
import { RESET } from '../../src/mux/wire.ts'
import { compileIntentions } from '../../src/server/authorization/intentions.ts'
import type { HttpHandler } from '../../src/server/http/application.ts'
import type { HttpServerOptions } from '../../src/server/http/options.ts'
import { type HttpServer, type HttpServerDependencies, serveHttp } from '../../src/server/http/server.ts'
import type { EventSink, MeshEvents } from '../../src/telemetry/events.ts'
import { newAuthority, newIdentity } from '../rigs/certificates.ts'
import { MuxClient, StreamReset } from '../rigs/mux-client.ts'
import { serverStack } from './server-stack.ts'

export { OneAtATime, serverStack } from './server-stack.ts'

export const authority = newAuthority()

/** Whether the requests of this run are carried by `inmesh/1`. */
export const OVER_MUX = inject('transport') === 'inmesh/1'
/** For tests whose subject is the syntax, the connections or the upgrades of HTTP/1.1. */
export const http1Only = it.skipIf(OVER_MUX)

export class FakeIdentitySource implements IdentitySource {
  current: Identity
  readonly #listeners = new Set<(identity: Identity) => void>()

  constructor(identity: Identity) {
    this.current = identity
  }

  onRotate(listener: (identity: Identity) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  rotate(next = newIdentity(authority, this.current.service)): void {
    this.current = { ...next, generation: this.current.generation + 1 }
    for (const listener of this.#listeners) listener(this.current)
  }
}

export interface RecordedEvent {
  readonly name: keyof MeshEvents
  readonly payload: Record<string, unknown>
}

export class RecordedEvents implements EventSink {
  readonly all: RecordedEvent[] = []

  emit<K extends keyof MeshEvents>(name: K, payload: MeshEvents[K]): void {
    this.all.push({ name, payload: payload as unknown as Record<string, unknown> })
  }

  of(name: keyof MeshEvents): Record<string, unknown>[] {
    return this.all.filter((event) => event.name === name).map((event) => event.payload)
  }
}

export interface Served {
  readonly server: HttpServer
  readonly events: RecordedEvents
  readonly failures: unknown[]
  readonly identity: FakeIdentitySource
}

/** Closed when the test ends. */
export async function serve(
  handler: HttpHandler,
  options: HttpServerOptions = {},
  dependencies: Partial<HttpServerDependencies> = {},
): Promise<Served> {
  const events = new RecordedEvents()
  const failures: unknown[] = []
  const identity = new FakeIdentitySource(newIdentity(authority, 'inventory'))
  const server = await serveHttp(
    handler,
    { mode: 'plaintext', ...options },
    {
      service: 'inventory',
      identity,
      authorizer: compileIntentions([], 'allow'),
      stack: serverStack(),
      transport: OVER_MUX ? 'auto' : 'http1',
      events,
      onHandlerError: (error) => failures.push(error),
      ...dependencies,
    },
  )
  onTestFinished(async () => {
    await server.close()
  })
  return { server, events, failures, identity }
}

export interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: string
  /** The server has asked the client to leave the connection. */
  readonly leave: boolean
}

export interface Asked {
  readonly method?: string
  readonly path?: string
  readonly headers?: Record<string, string>
  readonly body?: string
  /** A client's certificate: mTLS is spoken. */
  readonly as?: { readonly key: string; readonly cert: string }
  readonly agent?: unknown
  readonly signal?: AbortSignal
}

/** For a separate agent: Node reuses no connection whose request has its own check. */
export const TRUSTING = { ca: authority.certificate, checkServerIdentity: () => undefined }

export function ask(port: number, asked: Asked = {}): Promise<Answer> {
  if (OVER_MUX) return askOverMux(port, asked)
  const { as, body, agent, ...rest } = asked
  const common = { host: '127.0.0.1', port, ...rest, agent: (agent as SecureAgent | undefined) ?? false }
  return new Promise((resolve, reject) => {
    const request =
      as === undefined
        ? plainRequest(common as object)
        : secureRequest({ ...common, ...(agent === undefined && { ...as, ...TRUSTING }) })
    request.on('error', reject)
    request.on('response', (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response
        resolve({ status, headers, body: Buffer.concat(parts).toString(), leave: headers.connection === 'close' })
      })
    })
    request.end(body)
  })
}

/** One for each agent that keeps its connections; it has one for each port. */
const kept = new WeakMap<object, Map<number, Promise<MuxClient>>>()

async function askOverMux(port: number, { as, agent, signal, ...asked }: Asked): Promise<Answer> {
  const client = await clientFor(port, as, agent)
  const answer = client.ask(asked)
  const stop = (): void => {
    client.cancel(answer)
    answer.wasReset(answer.stream, { code: RESET.CANCELLED, reason: 'by the test', executed: true })
  }
  signal?.addEventListener('abort', stop)
  try {
    const { status, headers, body } = await answer.done
    return { status, headers, body, leave: client.goAway !== undefined }
  } catch (error) {
    // It has crossed the GOAWAY.
    if (agent === undefined || !(error instanceof StreamReset) || error.reset.executed) throw error
    return await ask(port, {
      ...asked,
      agent,
      ...(as !== undefined && { as }),
      ...(signal !== undefined && { signal }),
    })
  } finally {
    signal?.removeEventListener('abort', stop)
    if (agent === undefined) client.close()
  }
}

async function clientFor(port: number, as: Asked['as'], agent: unknown): Promise<MuxClient> {
  const { options = {} } = (agent ?? {}) as { options?: object }
  const tls = as === undefined ? undefined : { ...as, ...TRUSTING, ...options }
  if (agent === undefined) return MuxClient.open(port, tls)
  const clients = kept.get(agent as object) ?? new Map<number, Promise<MuxClient>>()
  kept.set(agent as object, clients)
  for (;;) {
    const open = clients.get(port) ?? MuxClient.open(port, tls)
    clients.set(port, open)
    const client = await open
    if (client.session.room > 0) return client
    if (clients.get(port) === open) clients.delete(port)
  }
}

/** Certificate and key of a service, as a client presents them. */
export function clientOf(service: string): { key: string; cert: string } {
  const { privateKey, certificate } = newIdentity(authority, service)
  return { key: privateKey, cert: certificate }
}

/** Sends text as it is and resolves with all that came until the server closed. */
export function sendRaw(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket: Socket = connect(port, '127.0.0.1', () => socket.write(text))
    let received = ''
    socket.on('data', (part) => {
      received += part.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(received))
  })
}

/** What a TLS client with `as` gets for one request: the answer, or why there was none. */
export function tlsAttempt(port: number, as: { key: string; cert: string } | undefined): Promise<string> {
  return new Promise((resolve) => {
    const socket = tlsConnect({
      port,
      host: '127.0.0.1',
      ca: authority.certificate,
      checkServerIdentity: () => undefined,
      ...as,
    })
    let received = ''
    socket.on('secureConnect', () => socket.write('GET / HTTP/1.1\r\nhost: inventory\r\nconnection: close\r\n\r\n'))
    socket.on('data', (part) => {
      received += part.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(received))
  })
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
