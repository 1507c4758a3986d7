/**
 * Whatever answers HTTP requests, as one application: `node:http` listeners and servers, Express,
 * Fastify, Koa-style hosts and Hono.
 */
import { type IncomingMessage, Server, type ServerResponse } from 'node:http'
import { Server as SecureServer } from 'node:https'
import { Server as NetServer } from 'node:net'
import { OptionsError, show } from '../../options/fields.ts'
import { assertServable } from './assert-servable.ts'
import { fastifyApplication, isFastify } from './fastify.ts'
import { keptListeners, requestListeners } from './kept-listeners.ts'
import type { UpgradeListener } from './options.ts'

/** A `node:http` request listener; a promise that rejects is answered with 500. */
export type HttpListener = (request: IncomingMessage, response: ServerResponse) => unknown

/**
 * What can be served: a listener (an Express app is one, `getRequestListener(app.fetch)` of
 * `@hono/node-server` makes one), a Fastify instance, a `node:http` server that does not listen
 * itself, or an object with `handle(request, response)`.
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
  listening(): unknown
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

/**
 * @throws OptionsError if it is nothing that can be served, or has settings that would be lost;
 * what Fastify's `ready` throws
 */
export async function applicationOf(handler: HttpHandler | Application): Promise<Application> {
  if (handler instanceof Application) return handler
  if (typeof handler === 'function') return new Application(handler)
  if (handler instanceof Server) {
    assertServable(handler)
    return new Application(requestListeners(handler), keptListeners(handler))
  }
  const given = handler as unknown
  if (typeof given === 'object' && given !== null) {
    const { handle, fetch, callback, createConnectionInjector } = given as Record<string, unknown>
    if (isFastify(given)) {
      const { listener, kept } = await fastifyApplication(given)
      return new Application(listener, kept)
    }
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
    if (given instanceof SecureServer || given instanceof NetServer) {
      const kind = given instanceof SecureServer ? 'node:https' : 'node:http2, node:net or node:tls'
      const hint = `is a server of ${kind}; give one of node:http, and the mesh does TLS with its own identity`
      throw new OptionsError('serve', [{ path: ['handler'], message: hint }])
    }
    if (typeof callback === 'function') {
      throw new OptionsError('serve', [{ path: ['handler'], message: 'is an app of Koa style; give app.callback()' }])
    }
  }
  const message = `expected a function (request, response), an Express app, a Fastify instance or an object with handle(), got ${show(given)}`
  throw new OptionsError('serve', [{ path: ['handler'], message }])
}
