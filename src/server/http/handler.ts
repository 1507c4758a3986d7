/**
 * Adapts what a user serves to an application: listeners, servers, Express, Fastify, `handle()`.
 */
import { Server } from 'node:http'
import { Server as SecureServer } from 'node:https'
import { Server as NetServer } from 'node:net'
import { OptionsError, show } from '../../options/fields.ts'
import { Application, type HttpHandler, type HttpListener } from './application.ts'
import { assertServable } from './assert-servable.ts'
import { fastifyApplication, isFastify } from './fastify.ts'
import { requestListeners, serverEvents } from './server-events.ts'

/**
 * @throws OptionsError if `handler` cannot be served or has settings without effect; what Fastify's
 * `ready` throws
 */
export async function applicationOf(handler: HttpHandler | Application): Promise<Application> {
  if (handler instanceof Application) return handler
  if (typeof handler === 'function') {
    assertNoExpressWs(handler)
    return new Application(handler)
  }
  if (handler instanceof Server) {
    assertServable(handler)
    return new Application(requestListeners(handler), serverEvents(handler))
  }
  const given = handler as unknown
  if (typeof given === 'object' && given !== null) {
    const { handle, fetch, callback, createConnectionInjector } = given as Record<string, unknown>
    if (isFastify(given)) return fastifyApplication(given)
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

/** express-ws listens on a server of `node:http`, which never gets the mesh's upgrades. */
function assertNoExpressWs(handler: HttpListener): void {
  if (typeof (handler as { ws?: unknown }).ws !== 'function') return
  const hint =
    'has WebSocket routes (express-ws), whose server is not served; make it yourself and serve it: const server = http.createServer(app); expressWs(app, server); mesh.serve(server)'
  throw new OptionsError('serve', [{ path: ['handler'], message: hint }])
}
