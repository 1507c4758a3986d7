/** Asks a WebSocket whose frames the application writes to close, because the server goes away (RFC 6455, 7.4.1). */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

/** Final, close, two bytes of payload: 1001, going away. From a server, so without a mask. */
const GOING_AWAY = Buffer.from([0x88, 0x02, 0x03, 0xe9])

/** `from`: the bytes written before the upgrade. What has not been answered yet is no WebSocket. */
export function askToClose({ headers }: IncomingMessage, socket: Socket, from: number): void {
  const protocols = headers.upgrade?.toLowerCase().split(',') ?? []
  const isWebSocket = protocols.some((protocol) => protocol.trim() === 'websocket')
  if (isWebSocket && socket.bytesWritten > from && socket.writable) socket.write(GOING_AWAY)
}
