/** From a request as node:http hands it over to an exchange that runs, or to a refusal. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { outsideCalls } from '../core/context.ts'
import type { Connection } from './connection.ts'
import { type ExchangeHost, type Expectation, HttpExchange } from './http-exchange.ts'
import { readHead } from './request-head.ts'

/** Serves one request. */
export function serveExchange(
  host: ExchangeHost,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
  expectation: Expectation,
): void {
  // Requests of one packet are read in one turn, whose context is that of the first by now.
  if (connection.inFlight > 0) outsideCalls(() => serve(host, connection, request, response, expectation))
  else serve(host, connection, request, response, expectation)
}

function serve(
  host: ExchangeHost,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
  expectation: Expectation,
): void {
  const head = readHead(host.maxHeaders, host.events, request, response)
  if (head === undefined) return
  const exchange = new HttpExchange(host, connection, request, response, head)
  if (!exchange.admit(head.path)) return
  exchange.run(expectation)
}

/** Judges a request to upgrade: a running exchange, or `undefined` after it has been answered. */
export function admitUpgrade(
  host: ExchangeHost,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
): HttpExchange | undefined {
  const head = readHead(host.maxHeaders, host.events, request, response)
  if (head === undefined) return undefined
  const exchange = new HttpExchange(host, connection, request, response, head)
  return exchange.admit(head.path) ? exchange : undefined
}
