/**
 * Refuses a `node:http` server whose listeners or settings would have no effect in the mesh. Each
 * refusal names the replacement.
 */
import { Server } from 'node:http'
import { type Issue, OptionsError } from '../../options/fields.ts'
import { isServed } from './served-server.ts'
import { isBuiltInListener } from './server-events.ts'

/** Events that never occur on a server without connections, each with its replacement. */
const REFUSED_EVENTS: Readonly<Record<string, string>> = {
  connect: 'CONNECT is not served: no intention covers it',
  connection: "connections are the mesh's, also those that it refuses; use the requests' `socket`",
  clientError: 'the mesh answers what cannot be parsed; subscribe to its events instead',
  dropRequest: 'use `limits.concurrency` of the policy document, and the event `admission:refused`',
  drop: 'use the option `maxConnections` of mesh.serve, and the event `admission:refused`',
  timeout: 'use the options `requestTimeout` and `keepAliveTimeout` of mesh.serve',
}

/** Settings without effect, each with its replacement. A new server's values are accepted. */
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
  rejectNonStandardBodyWrites: 'leave it out; the mesh has no such setting',
  IncomingMessage: 'requests are of a class of the mesh; add to them in the handler',
  ServerResponse: 'responses are of a class of the mesh; add to them in the handler',
  shouldUpgradeCallback: "answer in the listener for 'upgrade'",
  optimizeEmptyRequests: 'requests without a body are read as all others',
  uniqueHeaders: 'join the values where the header is set',
  noDelay: 'connections of the mesh send without delay',
  keepAliveInitialDelay: 'connections of the mesh ask for a sign of life after 15 s',
  highWaterMark: 'connections of the mesh buffer as much as a new socket of Node',
}

/** Node keeps these behind symbols. */
const BEHIND_SYMBOLS: Readonly<Record<string, string>> = {
  IncomingMessage: 'IncomingMessage',
  ServerResponse: 'ServerResponse',
  OptimizeEmptyRequestsOption: 'optimizeEmptyRequests',
  kUniqueHeaders: 'uniqueHeaders',
}

/** Settings and listeners that a framework gives every server: no user chose them. */
export interface ServerDefaults {
  readonly settings?: Readonly<Record<string, unknown>>
  isListener?(event: string, listener: { readonly name: string }): boolean
}

const PRISTINE = settingsOf(new Server())

/** @throws OptionsError naming each listener and setting that the mesh cannot keep */
export function assertServable(server: Server, defaults: ServerDefaults = {}): void {
  const issues = withoutEffect(server, defaults)
  if (server.listening && !isServed(server)) {
    issues.unshift({ path: ['handler'], message: 'listens already; do not call listen(), mesh.serve does' })
  }
  if (issues.length > 0) throw new OptionsError('serve', issues)
}

/** The listeners and settings that have no effect on requests of the mesh. */
export function withoutEffect(server: Server, defaults: ServerDefaults = {}): Issue[] {
  const issues: Issue[] = []
  for (const [event, hint] of Object.entries(REFUSED_EVENTS)) {
    const added = server
      .listeners(event)
      .filter((one) => !isBuiltInListener(event, one) && !defaults.isListener?.(event, one))
    if (added.length > 0) {
      issues.push({ path: ['handler'], message: `has a listener for '${event}' that would never be called: ${hint}` })
    }
  }
  for (const [name, hint] of Object.entries(SETTINGS)) {
    if (isDefault(server, name, defaults)) continue
    issues.push({ path: ['handler', name], message: `would have no effect: ${hint}` })
  }
  return issues
}

/** Whether a setting is that of a new server, or of every server of its framework. */
export function isDefault(server: Server, name: string, defaults: ServerDefaults = {}): boolean {
  const value = settingsOf(server)[name]
  return value === PRISTINE[name] || (defaults.settings !== undefined && value === defaults.settings[name])
}

/** The settings of a server. `null`, `false` and an empty list count as absent. */
function settingsOf(server: Server): Record<string, unknown> {
  const all: Record<string, unknown> = { ...server }
  for (const symbol of Object.getOwnPropertySymbols(server)) {
    const name = BEHIND_SYMBOLS[symbol.description ?? '']
    if (name !== undefined) all[name] = (server as unknown as Record<symbol, unknown>)[symbol]
  }
  // Each server has a new function with the same text.
  all.shouldUpgradeCallback = String(all.shouldUpgradeCallback)
  for (const [name, value] of Object.entries(all)) {
    if (value === null || value === false || (Array.isArray(value) && value.length === 0)) all[name] = undefined
  }
  return all
}
