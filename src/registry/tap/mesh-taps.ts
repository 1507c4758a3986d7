/** The taps that operators have open at this registry, and how many they may. */
import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { Clock } from '../../core/clock.ts'
import { ApiError } from '../api/error.ts'
import { beginStream, isHttp2, type OutgoingResponse } from '../api/request.ts'
import { OperatorTap, type OperatorTapParts, type TapPeers, type TapRecord } from './operator-tap.ts'
import { PeerTaps } from './peer-taps.ts'
import { TapHub } from './tap-hub.ts'

const MOST_TAPS = 8
/** Of one operator. */
const MOST_PER_OPERATOR = 3
/** Not taken by the socket: the reader misses what comes. */
const MOST_UNREAD = 1024 * 1024
/** A reader that takes nothing for so long is gone. */
const STUCK_MS = 20_000

type AskedTap = Pick<OperatorTapParts, 'question' | 'max' | 'allowed' | 'ended'>

export class MeshTaps {
  readonly hub: TapHub
  readonly peerTaps: PeerTaps
  readonly #clock: Clock
  readonly #peers: TapPeers
  /** By whom each is read. */
  readonly #open = new Map<OperatorTap, string>()

  constructor(clock: Clock, peers: TapPeers) {
    this.#clock = clock
    this.#peers = peers
    this.hub = new TapHub(clock)
    this.peerTaps = new PeerTaps(this.hub, clock, peers.id)
  }

  /** @throws ApiError `overloaded` */
  checkRoom(operator: string): void {
    const own = [...this.#open.values()].filter((name) => name === operator).length
    if (this.#open.size < MOST_TAPS && own < MOST_PER_OPERATOR) return
    throw new ApiError('overloaded', 'too many taps are open; end some')
  }

  /** Answers with JSON lines until the tap ends. */
  open(response: OutgoingResponse, operator: string, asked: AskedTap): void {
    beginStream(response, 'application/x-ndjson')
    ;(response as ServerResponse).flushHeaders()
    const output = new TapResponse(response, this.#clock)
    const id = randomUUID()
    const tap = new OperatorTap({ ...asked, hub: this.hub, peers: this.#peers, clock: this.#clock, id, output })
    this.#open.set(tap, operator)
    response.once('close', () => {
      this.#open.delete(tap)
      tap.close()
    })
  }

  close(): void {
    this.hub.close()
  }
}

/** The lines of one response. */
class TapResponse {
  readonly #response: OutgoingResponse
  readonly #clock: Clock
  /** When it was last seen to read everything. */
  #readAt: number

  constructor(response: OutgoingResponse, clock: Clock) {
    this.#response = response
    this.#clock = clock
    this.#readAt = clock.now()
  }

  write(record: TapRecord): boolean {
    const response = this.#response
    if (response.destroyed || response.writableEnded) return false
    const unread = isHttp2(response) ? (response.stream?.writableLength ?? 0) : response.writableLength
    const now = this.#clock.now()
    if (unread === 0) this.#readAt = now
    else if (now - this.#readAt > STUCK_MS) {
      response.destroy()
      return false
    }
    if (unread >= MOST_UNREAD) return false
    ;(response as ServerResponse).write(`${JSON.stringify(record)}\n`)
    return true
  }

  end(): void {
    if (!this.#response.destroyed) (this.#response as ServerResponse).end()
  }
}
