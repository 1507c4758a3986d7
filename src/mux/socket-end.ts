/** Ends the socket of a session: what was written still arrives, within a bound. */
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../core/clock.ts'

export class SocketEnd {
  readonly #socket: Socket
  readonly #clock: Clock
  #timer: Timer | undefined = undefined

  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket
    this.#clock = clock
  }

  /** Cuts it after `ms`. Until then it is read, because closing with unread bytes discards ours. */
  begin(ms: number): void {
    const socket = this.#socket
    if (socket.destroyed) return
    socket.end()
    if (socket.isPaused()) socket.resume()
    this.#timer ??= this.#clock.startBackgroundTimer(ms, cut, socket)
  }

  /** The socket has closed. */
  stop(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
  }
}

function cut(socket: Socket): void {
  socket.destroy()
}
