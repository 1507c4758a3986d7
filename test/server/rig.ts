/** A server without a mesh, and clients that can misbehave. */
import { request as plainRequest } from 'node:http'
import { type Agent as SecureAgent, request as secureRequest } from 'node:https'
import { connect, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { onTestFinished } from 'vitest'
import type { Identity, IdentitySource } from '../../src/identity/identity.ts'
import { compileIntentions } from '../../src/server/authorization/intentions.ts'
import type { HttpHandler } from '../../src/server/http/application.ts'
import type { HttpServerOptions } from '../../src/server/http/options.ts'
import { type HttpServer, type HttpServerDependencies, serveHttp } from '../../src/server/http/server.ts'
import type { EventSink, MeshEvents } from '../../src/telemetry/events.ts'
import { newAuthority, newIdentity } from '../rigs/certificates.ts'
import { serverStack } from './server-stack.ts'

export { OneAtATime, serverStack } from './server-stack.ts'

export const authority = newAuthority()

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
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(parts).toString() })
      })
    })
    request.end(body)
  })
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
