/**
 * Requests to change the protocol: which of them go to the application, and when. They wait until
 * everything before them on the connection is answered, and nothing on the socket, then or later,
 * ends the process.
 */
import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Connection } from '../connection.ts'
import type { HttpServerCallHost } from './call.ts'
import { admitUpgrade } from './serve.ts'

/** Hands over the socket of an authorized request. */
export type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => unknown

/** Serves a request to upgrade, after the answers to those before it. */
export function serveUpgrade(
  host: HttpServerCallHost,
  connection: Connection,
  request: IncomingMessage,
  head: Buffer,
  upgrading: UpgradeListener,
): void {
  const { socket, last } = connection
  if (connection.closing || socket.destroyed) {
    socket.destroySoon()
    return
  }
  if (last !== undefined && !last.destroyed) {
    last.once('close', () => serveUpgrade(host, connection, request, head, upgrading))
    return
  }
  // node:http waits for the next request.
  socket.setTimeout(0)
  const response = new ServerResponse(request)
  response.assignSocket(socket)
  response.shouldKeepAlive = false
  const exchange = admitUpgrade(host, connection, request, response)
  if (exchange === undefined) {
    socket.destroySoon()
    return
  }
  response.detachSocket(socket)
  exchange.runUpgrade(() => upgrading(request, socket, head))
}
