/** What the mesh takes over of a `node:http` server that listens itself. */
import type { Server } from 'node:http'
import { ListeningServer } from '../listening-server.ts'
import { Application } from './application.ts'
import { isDefault, withoutEffect } from './assert-servable.ts'
import { FASTIFY_DEFAULTS } from './fastify.ts'
import type { HttpServerOptions } from './options.ts'
import { isBuiltInListener, requestEvents, requestListeners } from './server-events.ts'

/** Settings of the server that hold for requests of the mesh, too, within the bounds of ours. */
const KEPT = {
  requestTimeout: { option: 'requestTimeout', min: 100, max: 3_600_000 },
  headersTimeout: { option: 'headersTimeout', min: 100, max: 60_000 },
  keepAliveTimeout: { option: 'keepAliveTimeout', min: 100, max: 3_600_000 },
  maxHeadersCount: { option: 'maxHeaders', min: 16, max: 2_000 },
} as const
/** Ours come from the server that accepts, so these have their effect. */
const IN_EFFECT = /^(?:maxConnections|keepAliveTimeoutBuffer)$|'(?:connection|drop)'/

export function listeningHttp(server: Server, beside: boolean): ListeningServer {
  return new ListeningServer(server, (listener) => isBuiltInListener('connection', listener), beside)
}

export function applicationBehind(server: Server): Application {
  return new Application(requestListeners(server), requestEvents(server))
}

/** What the application has set on its server. 0 means no bound there, and the widest one here. */
export function keptSettings(server: Server): HttpServerOptions {
  const kept: Record<string, number> = {}
  for (const [name, { option, min, max }] of Object.entries(KEPT)) {
    const value = (server as unknown as Record<string, unknown>)[name]
    if (typeof value !== 'number' || isDefault(server, name)) continue
    kept[option] = value <= 0 ? max : Math.min(max, Math.max(min, Math.round(value)))
  }
  return kept
}

/** What else it has set or listens for, which only its plaintext requests meet. */
export function plaintextOnly(server: Server): string[] {
  return withoutEffect(server, FASTIFY_DEFAULTS)
    .map(({ path, message }) => path[1]?.toString() ?? /'\w+'/.exec(message)?.[0] ?? '')
    .filter((name) => !(name in KEPT) && !IN_EFFECT.test(name))
}
