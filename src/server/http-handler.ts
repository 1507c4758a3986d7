/** Whatever answers HTTP requests, as one function: `node:http` listeners and the apps of Express, Fastify, Koa-style hosts and Hono. */
import { type IncomingMessage, Server, type ServerResponse } from 'node:http'
import { OptionsError, show } from '../core/fields.ts'

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

/** @throws OptionsError if it is nothing that can be served; what Fastify's `ready` throws */
export async function listenerOf(handler: HttpHandler): Promise<HttpListener> {
  if (typeof handler === 'function') return handler
  if (handler instanceof Server) return (request, response) => handler.emit('request', request, response)
  const given = handler as unknown
  if (typeof given === 'object' && given !== null) {
    const { ready, routing, handle, fetch, createConnectionInjector } = given as Record<string, unknown>
    if (typeof ready === 'function' && typeof routing === 'function') {
      await (handler as { ready(): PromiseLike<unknown> }).ready()
      return (request, response) => (handler as { routing: HttpListener }).routing(request, response)
    }
    if (typeof handle === 'function') {
      return (request, response) => (handler as { handle: HttpListener }).handle(request, response)
    }
    if (typeof createConnectionInjector === 'function') {
      throw new OptionsError('serve', [{ path: ['handler'], message: 'is a Server of gRPC, for mesh.serveGrpc' }])
    }
    if (typeof fetch === 'function') {
      const hint = "is an app of fetch style; wrap it: getRequestListener(app.fetch) from '@hono/node-server'"
      throw new OptionsError('serve', [{ path: ['handler'], message: hint }])
    }
  }
  const message = `expected a function (request, response), an Express app, a Fastify instance or an object with handle(), got ${show(given)}`
  throw new OptionsError('serve', [{ path: ['handler'], message }])
}
