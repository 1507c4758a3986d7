/**
 * Answers a refused peer before its connection ends, and discards what the peer sends for one more
 * second. A connection that closes with unread input is reset, and the reset takes the answer away
 * from the peer.
 */
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../core/clock.ts'

export interface RefusalAnswer {
  /** Sent at once, if there is something to wait for before the rest. */
  readonly first?: Uint8Array
  readonly last: Uint8Array | string
  /** Whether the rest may follow now that `input` has come. */
  readonly mayFollow?: (input: Uint8Array) => boolean
}

const LINGER_MS = 1_000
/** A peer that never lets the rest follow gets it after this time. */
const PATIENCE_MS = 250
/** Beyond this, input waits in the system's buffers until the end. */
const MOST_INPUT_BYTES = 65_536
/** Beyond this, the oldest connection ends early: a flood of refused peers holds no more. */
const MOST_LINGERING = 256

export class LingeringClose {
  readonly #clock: Clock
  readonly #lingering = new Set<Farewell>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get lingering(): number {
    return this.#lingering.size
  }

  say(socket: Socket, answer: RefusalAnswer): void {
    if (this.#lingering.size >= MOST_LINGERING) {
      const [oldest] = this.#lingering
      this.#lingering.delete(oldest!)
      oldest!.end()
    }
    const farewell = new Farewell(this.#clock, socket, answer)
    this.#lingering.add(farewell)
    socket.once('close', () => this.#lingering.delete(farewell))
  }
}

class Farewell {
  readonly #clock: Clock
  readonly #socket: Socket
  readonly #answer: RefusalAnswer
  readonly #end: Timer
  #patience: Timer | undefined
  #input = 0

  constructor(clock: Clock, socket: Socket, answer: RefusalAnswer) {
    this.#clock = clock
    this.#socket = socket
    this.#answer = answer
    this.#end = clock.startBackgroundTimer(LINGER_MS, end, this)
    socket.on('error', ignore)
    socket.once('close', () => this.#closed())
    socket.on('data', (chunk: Uint8Array) => this.#heard(chunk))
    if (answer.first === undefined) this.finish()
    else {
      socket.write(answer.first)
      this.#patience = clock.startBackgroundTimer(PATIENCE_MS, finish, this)
    }
  }

  /** Sends the rest. The peer's end of the connection ends ours, too. */
  finish(): void {
    this.#stopPatience()
    if (this.#socket.writable) this.#socket.end(this.#answer.last)
  }

  end(): void {
    this.#socket.destroy()
  }

  #heard(chunk: Uint8Array): void {
    this.#input += chunk.length
    if (this.#patience !== undefined && this.#answer.mayFollow?.(chunk) === true) this.finish()
    if (this.#input >= MOST_INPUT_BYTES) this.#socket.pause()
  }

  #closed(): void {
    this.#stopPatience()
    this.#clock.stopTimer(this.#end)
  }

  #stopPatience(): void {
    if (this.#patience !== undefined) this.#clock.stopTimer(this.#patience)
    this.#patience = undefined
  }
}

function end(farewell: Farewell): void {
  farewell.end()
}

function finish(farewell: Farewell): void {
  farewell.finish()
}

function ignore(): void {}
