/**
 * Adapts a Fastify instance. Its server never listens, so the mesh calls its hooks and listeners.
 */
import { Server } from 'node:http'
import { OptionsError } from '../../options/fields.ts'
import { Application, type HttpListener } from './application.ts'
import { assertServable, type ServerDefaults } from './assert-servable.ts'
import { requestListeners, serverEvents } from './server-events.ts'

interface Fastify {
  ready(): PromiseLike<unknown>
  readonly routing: HttpListener
  readonly server?: unknown
  close?(): PromiseLike<unknown>
}

type Hook = (this: unknown, done?: (error?: unknown) => void) => unknown

/** Fastify changes these on every server. */
export const FASTIFY_DEFAULTS: ServerDefaults = {
  settings: { requestTimeout: 0, keepAliveTimeout: 72_000 },
  isListener: (event, { name }) => event === 'clientError' && /default|fastify/i.test(name),
}

export function isFastify(handler: object): handler is Fastify {
  const { ready, routing } = handler as Record<string, unknown>
  return typeof ready === 'function' && typeof routing === 'function'
}

/**
 * @throws OptionsError for a server that is not from node:http and for settings without effect;
 * what `ready` throws
 */
export async function fastifyApplication(app: Fastify): Promise<Application> {
  const { server } = app
  if (server !== undefined && !(server instanceof Server)) {
    const message = "has a server that is not of node:http; leave out Fastify's `http2` and `https`: the mesh does TLS"
    throw new OptionsError('serve', [{ path: ['handler'], message }])
  }
  // Plugins add listeners.
  await app.ready()
  if (server !== undefined) assertServable(server, FASTIFY_DEFAULTS)
  if (server === undefined) return new Application((request, response) => app.routing(request, response))
  const events = serverEvents(server, {
    listening: () => runOnListen(app),
    closed: () => app.close?.(),
  })
  // A plugin may have added its listener before Fastify's, as Socket.IO does.
  return new Application(requestListeners(server), events)
}

/** Runs the `onListen` hooks in order. Fastify runs them only in `listen()`. */
async function runOnListen(app: object): Promise<void> {
  const { onListen } = (fieldOf(app, 'fastify.hooks') ?? {}) as { onListen?: Hook[] }
  const failures: unknown[] = []
  for (const hook of onListen ?? []) {
    try {
      await (hook.length === 0 ? hook.call(app) : callWithDone(hook, app))
    } catch (error) {
      failures.push(error)
    }
  }
  for (const child of (fieldOf(app, 'fastify.children') ?? []) as object[]) {
    await runOnListen(child).catch((error: unknown) => failures.push(error))
  }
  // As in Fastify, one failure does not stop the other hooks.
  if (failures.length > 0) throw failures[0]
}

function callWithDone(hook: Hook, app: object): Promise<void> {
  return new Promise((resolve, reject) => {
    hook.call(app, (error) => (error === undefined || error === null ? resolve() : reject(error)))
  })
}

function fieldOf(app: object, description: string): unknown {
  // A plugin's instance inherits from its parent's, and has separate hooks.
  const symbol = Object.getOwnPropertySymbols(app).find((each) => each.description === description)
  return symbol === undefined ? undefined : (app as Record<symbol, unknown>)[symbol]
}
