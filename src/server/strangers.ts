/** Answers the peers of one port that are not let in, counts them, and reports each. */
import type { Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'
import type { EventSink } from '../telemetry/events.ts'
import { LingeringClose } from './lingering-close.ts'
import type { ServerProtocol } from './protocol.ts'
import { refuseHttp1 } from './refuse-http1.ts'
import { noticeFor, type StrangerReason } from './stranger.ts'

export interface StrangersHost {
  readonly clock: Clock
  readonly events: EventSink
  readonly service: string
}

export class Strangers {
  readonly #host: StrangersHost
  readonly #speaks: () => readonly string[]
  readonly #lingering: LingeringClose
  refused = 0

  /** `speaks`: the protocols of the port, by their IDs in ALPN. */
  constructor(host: StrangersHost, speaks: () => readonly string[]) {
    this.#host = host
    this.#speaks = speaks
    this.#lingering = new LingeringClose(host.clock)
  }

  /**
   * Answers and closes. `protocol`: that of the peer; `undefined`: it named none, and clients that
   * name none speak HTTP/1.1. `named`: it is the peer's own choice.
   */
  refuse(socket: Socket, reason: StrangerReason, protocol: ServerProtocol | undefined, named: boolean): void {
    this.report(reason, socket)
    const stranger = { reason, notice: noticeFor(reason, this.#host.service, this.#speaks()), named }
    this.#lingering.close(socket, protocol === undefined ? refuseHttp1(stranger) : protocol.refusal(stranger))
  }

  /** `reason`: of a fixed set, because metrics have one series for each. */
  report(reason: string, socket: Socket): void {
    this.refused += 1
    const address = socket.remoteAddress
    this.#host.events.emit('peer:refused', { side: 'server', reason, ...(address !== undefined && { address }) })
  }
}
