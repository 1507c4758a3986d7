/** Whatever answers HTTP requests, as one application: `node:http` listeners and servers, Express, Fastify, Koa-style hosts and Hono. */
import { type IncomingMessage, Server, type ServerResponse } from 'node:http'
import { Server as SecureServer } from 'node:https'
import { OptionsError, show } from '../core/fields.ts'
import type { UpgradeListener } from './http-server-options.ts'
import { assertServable, callListeners, keptListeners } from './kept-listeners.ts'

/** A `node:http` request listener; a promise that rejects is answered with 500. */
export type HttpListener = (request: IncomingMessage, response: ServerResponse) => unknown

/**
 * What can be served: a listener (an Express app is one, `getRequestListener(app.fetch)` of `@hono/node-server` makes one), a Fastify
 * instance, a `node:http` server that does not listen itself, or an object with `handle(request, response)`.
 */
export type HttpHandler =
  | HttpListener
  | Server
  | { handle: HttpListener }
  | { ready(): PromiseLike<unknown>; routing: HttpListener }

/** What the application wants to hear of besides requests. `undefined`: nothing of this kind. */
export interface KeptListeners {
  /** For requests that expect something. `undefined`: no one listens now. */
  expecting(event: 'checkContinue' | 'checkExpectation', request: IncomingMessage, response: ServerResponse): unknown
  /** Whether an upgrade would be heard. */
  readonly upgrades: boolean
  readonly upgrade: UpgradeListener
  listening(): void
  /** The server is gone. */
  closed(): unknown
}

/** An application as a server serves it. */
export class Application {
  readonly listener: HttpListener
  readonly kept: KeptListeners | undefined

  constructor(listener: HttpListener, kept?: KeptListeners) {
    this.listener = listener
    this.kept = kept
  }
}

interface FastifyLike {
  ready(): PromiseLike<unknown>
  readonly routing: HttpListener
  readonly server?: unknown
  close?(): PromiseLike<unknown>
}

/** @throws OptionsError if it is nothing that can be served, or has settings that would be lost; what Fastify's `ready` throws */
export async function applicationOf(handler: HttpHandler | Application): Promise<Application> {
  if (handler instanceof Application) return handler
  if (typeof handler === 'function') return new Application(handler)
  if (handler instanceof Server) {
    assertServable(handler)
    return new Application(
      (request, response) => callListeners(handler, 'request', request, response),
      keptListeners(handler),
    )
  }
  const given = handler as unknown
  if (typeof given === 'object' && given !== null) {
    const { ready, routing, handle, fetch, createConnectionInjector } = given as Record<string, unknown>
    if (typeof ready === 'function' && typeof routing === 'function') return fastify(given as FastifyLike)
    if (typeof handle === 'function') {
      return new Application((request, response) => (handler as { handle: HttpListener }).handle(request, response))
    }
    if (typeof createConnectionInjector === 'function') {
      throw new OptionsError('serve', [{ path: ['handler'], message: 'is a Server of gRPC, for mesh.serveGrpc' }])
    }
    if (typeof fetch === 'function') {
      const hint = "is an app of fetch style; wrap it: getRequestListener(app.fetch) from '@hono/node-server'"
      throw new OptionsError('serve', [{ path: ['handler'], message: hint }])
    }
    if (given instanceof SecureServer) {
      const hint = 'is a server of node:https; give one of node:http, and the mesh does TLS with its own identity'
      throw new OptionsError('serve', [{ path: ['handler'], message: hint }])
    }
  }
  const message = `expected a function (request, response), an Express app, a Fastify instance or an object with handle(), got ${show(given)}`
  throw new OptionsError('serve', [{ path: ['handler'], message }])
}

/** Its plugins may listen for upgrades on its server, and its `onClose` hooks run when ours is gone. */
async function fastify(app: FastifyLike): Promise<Application> {
  await app.ready()
  const server = app.server instanceof Server ? app.server : new Server()
  const kept = keptListeners(server, () => app.close?.())
  return new Application((request, response) => app.routing(request, response), kept)
}
