/** From a request as node:http hands it over to an exchange that runs, or to a refusal. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Connection } from '../connection.ts'
import { type Expectation, HttpServerCall, type HttpServerCallHost } from './call.ts'
import { readHead } from './request-head.ts'

/** Serves one request. `cameAt`: it has waited for its turn since then. */
export function serveCall(
  host: HttpServerCallHost,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
  expectation: Expectation,
  cameAt?: number,
): void {
  const head = readHead(host.maxHeaders, host.events, request, response)
  if (head === undefined) return
  const exchange = new HttpServerCall(host, connection, request, response, head, cameAt)
  if (!exchange.admit(head.path)) return
  exchange.run(expectation)
}

/** Judges a request to upgrade: a running exchange, or `undefined` after it has been answered. */
export function admitUpgrade(
  host: HttpServerCallHost,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
): HttpServerCall | undefined {
  const head = readHead(host.maxHeaders, host.events, request, response)
  if (head === undefined) return undefined
  const exchange = new HttpServerCall(host, connection, request, response, head)
  return exchange.admit(head.path) ? exchange : undefined
}
