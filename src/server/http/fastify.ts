/**
 * A Fastify instance as an application: its server never listens, so its hooks and listeners are
 * called by us.
 */
import { Server } from 'node:http'
import { OptionsError } from '../../options/fields.ts'
import { assertServable, type Usual } from './assert-servable.ts'
import type { HttpListener, KeptListeners } from './handler.ts'
import { keptListeners, requestListeners } from './kept-listeners.ts'

interface Fastify {
  ready(): PromiseLike<unknown>
  readonly routing: HttpListener
  readonly server?: unknown
  close?(): PromiseLike<unknown>
}

type Hook = (this: unknown, done?: (error?: unknown) => void) => unknown

/** What every instance of Fastify does to its server. */
const OF_FASTIFY: Usual = {
  settings: { requestTimeout: 0, keepAliveTimeout: 72_000 },
  isListener: (event, { name }) => event === 'clientError' && /default|fastify/i.test(name),
}

export function isFastify(handler: object): handler is Fastify {
  const { ready, routing } = handler as Record<string, unknown>
  return typeof ready === 'function' && typeof routing === 'function'
}

/**
 * @throws OptionsError for a server that is not of node:http, and for settings that would be lost;
 * what `ready` throws
 */
export async function fastifyApplication(app: Fastify): Promise<{ listener: HttpListener; kept?: KeptListeners }> {
  const { server } = app
  if (server !== undefined && !(server instanceof Server)) {
    const message = "has a server that is not of node:http; leave out Fastify's `http2` and `https`: the mesh does TLS"
    throw new OptionsError('serve', [{ path: ['handler'], message }])
  }
  // Plugins listen, too.
  await app.ready()
  if (server !== undefined) assertServable(server, OF_FASTIFY)
  if (server === undefined) return { listener: (request, response) => app.routing(request, response) }
  const kept = keptListeners(server, { listening: () => listened(app), closed: () => app.close?.() })
  // Plugins may stand before Fastify's own listener, as Socket.IO does.
  return { listener: requestListeners(server), kept }
}

/**
 * Runs the `onListen` hooks, which Fastify itself runs only in `listen()`: each after the one
 * before.
 */
async function listened(app: object): Promise<void> {
  const { onListen } = (behind(app, 'fastify.hooks') ?? {}) as { onListen?: Hook[] }
  const failures: unknown[] = []
  for (const hook of onListen ?? []) {
    try {
      await (hook.length === 0 ? hook.call(app) : called(hook, app))
    } catch (error) {
      failures.push(error)
    }
  }
  for (const child of (behind(app, 'fastify.children') ?? []) as object[]) {
    await listened(child).catch((error: unknown) => failures.push(error))
  }
  // The others run all the same, as in Fastify.
  if (failures.length > 0) throw failures[0]
}

function called(hook: Hook, app: object): Promise<void> {
  return new Promise((resolve, reject) => {
    hook.call(app, (error) => (error === undefined || error === null ? resolve() : reject(error)))
  })
}

function behind(app: object, description: string): unknown {
  // An instance of a plugin inherits from that of its parent, and has hooks of its own.
  const symbol = Object.getOwnPropertySymbols(app).find((each) => each.description === description)
  return symbol === undefined ? undefined : (app as Record<symbol, unknown>)[symbol]
}
