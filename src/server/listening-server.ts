/**
 * A server of the application that listens itself: the mesh takes its connections over, and hands
 * those in plaintext back.
 */
import type { AddressInfo, Server, Socket } from 'node:net'

type Accept = (socket: Socket) => void

export class ListeningServer {
  /** Whether the mesh also listens on a separate port, which is the one that is announced. */
  readonly beside: boolean
  readonly #server: Server
  readonly #own: readonly Accept[]
  #taker: Accept | undefined

  /** `isOwn`: whether a listener for `connection` is the server's, not the application's. */
  constructor(server: Server, isOwn: (listener: unknown) => boolean, beside = false) {
    this.#server = server
    this.#own = server.listeners('connection').filter(isOwn) as Accept[]
    this.beside = beside
  }

  /** @throws TypeError if the server listens on no port */
  get address(): AddressInfo {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new TypeError('the server listens on no port')
    return address
  }

  /** From now on, `accept` gets each connection in place of the server itself. */
  take(accept: Accept): void {
    this.#replace(this.#taker === undefined ? this.#own : [this.#taker], [accept])
    this.#taker = accept
  }

  /** Serves a connection as if there were no mesh. */
  serve(socket: Socket): void {
    for (const accept of this.#own) accept.call(this.#server, socket)
  }

  /** Connections are the server's again; `refused`: they are closed. */
  giveBack(refused: boolean): void {
    const taker = this.#taker
    if (taker === undefined) return
    this.#taker = undefined
    this.#replace([taker], refused ? [(socket) => void socket.destroy()] : this.#own)
  }

  #replace(former: readonly Accept[], next: readonly Accept[]): void {
    for (const accept of former) this.#server.off('connection', accept)
    for (const accept of next) this.#server.on('connection', accept)
  }
}
