/** From a parsed request to a running call, or to a refusal. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Expectation, HttpServerCall, type HttpServerCallHost } from './call.ts'
import type { Exchange } from './exchange.ts'
import { readHead } from './request-head.ts'

/** `arrivedAt`: since when the request has waited for earlier ones on its connection. */
export function serveCall(
  host: HttpServerCallHost,
  exchange: Exchange,
  request: IncomingMessage,
  response: ServerResponse,
  expectation: Expectation,
  arrivedAt?: number,
): void {
  const head = readHead(host.maxHeaders, host.events, request, response)
  if (head === undefined) return
  const call = new HttpServerCall(host, exchange, request, response, head, arrivedAt)
  const admitted = call.admit(head)
  if (admitted === true) call.run(expectation)
  else if (admitted !== false) runLater(admitted, call, expectation)
}

/** Separate, because V8 allocates the closure's context even in calls that never create it. */
function runLater(admitted: Promise<boolean>, call: HttpServerCall, expectation: Expectation): void {
  void admitted.then((allowed) => {
    if (allowed) call.run(expectation)
  })
}
