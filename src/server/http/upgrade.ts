/**
 * Serves requests to upgrade, each after the answers to all earlier ones on its connection. No
 * error on the socket ends the process, then or later.
 */
import { type IncomingMessage, ServerResponse } from 'node:http'
import { HttpServerCall, type HttpServerCallHost } from './call.ts'
import type { HttpConnection } from './connection.ts'
import type { UpgradeListener } from './options.ts'
import { readHead } from './request-head.ts'

/** `listener` receives the socket of an authorized request. */
export function serveUpgrade(
  host: HttpServerCallHost,
  connection: HttpConnection,
  request: IncomingMessage,
  head: Buffer,
  listener: UpgradeListener,
): void {
  const { socket, last } = connection
  if (connection.closing || socket.destroyed) {
    socket.destroySoon()
    return
  }
  if (last !== undefined && !last.destroyed) {
    last.once('close', () => serveUpgrade(host, connection, request, head, listener))
    return
  }
  // node:http set a timeout for the next request.
  socket.setTimeout(0)
  const response = new ServerResponse(request)
  response.assignSocket(socket)
  response.shouldKeepAlive = false
  const requestHead = readHead(host.maxHeaders, host.events, request, response)
  if (requestHead === undefined) {
    socket.destroySoon()
    return
  }
  const call = new HttpServerCall(host, connection, request, response, requestHead)
  const upgrade = (allowed: boolean): void => {
    if (!allowed) {
      socket.destroySoon()
      return
    }
    response.detachSocket(socket)
    call.runUpgrade(() => listener(request, socket, head), head.length)
  }
  const admitted = call.admit(requestHead)
  if (typeof admitted === 'boolean') upgrade(admitted)
  else void admitted.then(upgrade)
}
