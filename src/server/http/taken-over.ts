/** A connection that the application took over by an upgrade, as logs show it. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { isWebSocket, WebSocketClose } from './websocket-close.ts'

const SWITCHED = 101

export class TakenOver {
  readonly #socket: Socket
  readonly #writtenBefore: number
  readonly #readBefore: number
  /** What is no WebSocket is not looked into. */
  readonly #webSocket: WebSocketClose | undefined

  /** `socket`: before the application has it. `early`: bytes that came with the request. */
  constructor(request: IncomingMessage, socket: Socket, early: number) {
    this.#socket = socket
    this.#writtenBefore = socket.bytesWritten
    this.#readBefore = socket.bytesRead - early
    this.#webSocket = isWebSocket(request) ? new WebSocketClose(socket) : undefined
  }

  /** Status of the answer that the application wrote; 0: none yet. */
  get status(): number {
    return this.#webSocket === undefined ? SWITCHED : this.#webSocket.status
  }

  get hasWritten(): boolean {
    return this.#written > 0
  }

  /** Without the head of the answer to a WebSocket. */
  get bytesSent(): number {
    return Math.max(0, this.#written - (this.#webSocket?.headBytes ?? 0))
  }

  get bytesReceived(): number {
    return Math.max(0, this.#socket.bytesRead - this.#readBefore)
  }

  /** The server is closing. */
  goAway(): void {
    this.#webSocket?.request()
  }

  get #written(): number {
    return this.#socket.bytesWritten - this.#writtenBefore
  }
}
