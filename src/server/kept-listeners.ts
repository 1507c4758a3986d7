/**
 * Listeners and settings of a `node:http` server that is served by the mesh instead of listening itself: each is kept, or
 * refused with a hint, because what is dropped in silence is missed in production.
 */
import { Server } from 'node:http'
import { type Issue, OptionsError } from '../core/fields.ts'
import type { KeptListeners } from './http-handler.ts'

/** Calls the listeners of `server`. `close`: what else is to be done when ours is gone. */
export function keptListeners(server: Server, close?: () => unknown): KeptListeners {
  return {
    expecting: (event, request, response) => {
      if (server.listenerCount(event) === 0) return undefined
      return callListeners(server, event, request, response) ?? true
    },
    get upgrades() {
      return server.listenerCount('upgrade') > 0
    },
    upgrade: (request, socket, head) => callListeners(server, 'upgrade', request, socket, head),
    listening: () => void server.emit('listening'),
    closed: () => (close === undefined ? server.emit('close') : close()),
  }
}

/** Like `emit`, but with the promises of listeners that are async functions, whose rejection would end the process. */
export function callListeners(server: Server, event: string, ...given: unknown[]): PromiseLike<unknown> | undefined {
  const promises: PromiseLike<unknown>[] = []
  for (const listener of server.rawListeners(event)) {
    const returned = listener.apply(server, given) as PromiseLike<unknown> | undefined
    if (typeof returned?.then === 'function') promises.push(returned)
  }
  return promises.length === 0 ? undefined : Promise.all(promises)
}

/** Events that a server without connections of its own cannot have, and what to do instead. */
const REFUSED_EVENTS: Readonly<Record<string, string>> = {
  connect: 'CONNECT is not served: no intention covers it',
  connection: "connections are the mesh's, also those that it refuses; use the requests' `socket`",
  clientError: 'the mesh answers what cannot be parsed; subscribe to its events instead',
  dropRequest: 'use `limits.concurrency` of the policy document, and the event `admission:refused`',
  drop: 'use the option `maxConnections` of mesh.serve, and the event `admission:refused`',
  timeout: 'use the options `requestTimeout` and `keepAliveTimeout` of mesh.serve',
}

/** Settings that differ from those of a new server would be lost: the option of `mesh.serve` that replaces each. */
const SETTINGS: Readonly<Record<string, string>> = {
  requestTimeout: 'use the option `requestTimeout` of mesh.serve',
  headersTimeout: 'use the option `headersTimeout` of mesh.serve',
  keepAliveTimeout: 'use the option `keepAliveTimeout` of mesh.serve',
  keepAliveTimeoutBuffer: 'use the option `keepAliveTimeout` of mesh.serve',
  maxHeadersCount: 'use the option `maxHeaders` of mesh.serve',
  maxConnections: 'use the option `maxConnections` of mesh.serve',
  maxHeaderSize: "the head of a request has at most Node's 16 KiB (--max-http-header-size)",
  maxRequestsPerSocket: 'connections are retired by the mesh',
  timeout: 'use the options `requestTimeout` and `keepAliveTimeout` of mesh.serve',
  insecureHTTPParser: 'requests that two parsers could read differently are refused',
  requireHostHeader: 'HTTP/1.1 requires Host',
  joinDuplicateHeaders: 'read `request.headersDistinct` instead',
  rejectNonStandardBodyWrites: 'it has no effect here',
}

const pristine = new Server()

/** @throws OptionsError naming each listener and setting that the mesh cannot keep */
export function assertServable(server: Server): void {
  const issues: Issue[] = []
  if (server.listening)
    issues.push({ path: ['handler'], message: 'listens already; do not call listen(), mesh.serve does' })
  for (const [event, hint] of Object.entries(REFUSED_EVENTS)) {
    const own = pristine.listeners(event)
    if (server.listeners(event).some((listener) => !own.includes(listener))) {
      issues.push({ path: ['handler'], message: `has a listener for '${event}' that would never be called: ${hint}` })
    }
  }
  const given = server as unknown as Record<string, unknown>
  const usual = pristine as unknown as Record<string, unknown>
  for (const [name, hint] of Object.entries(SETTINGS)) {
    if ((given[name] ?? undefined) !== (usual[name] ?? undefined)) {
      issues.push({ path: ['handler', name], message: `would have no effect: ${hint}` })
    }
  }
  if (issues.length > 0) throw new OptionsError('serve', issues)
}
