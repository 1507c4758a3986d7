/**
 * Answers a refused peer and reads its input for one more second. A connection that closes with
 * unread input is reset, and the reset discards the answer.
 */
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../core/clock.ts'

export interface RefusalAnswer {
  /** Sent at once. */
  readonly first?: Uint8Array
  /** A function is asked when it is sent. Empty: the connection ends without an answer. */
  readonly last: Uint8Array | string | (() => Uint8Array | string)
  /** Whether the rest may follow after `input`. Without it, the rest is sent at once. */
  readonly mayFollow?: (input: Uint8Array) => boolean
}

const LINGER_MS = 1_000
/** After this time, the rest is sent anyway. */
const MAX_WAIT_MS = 250
/** Beyond this, input stays in the kernel's buffers. */
const MAX_INPUT_BYTES = 65_536
/** Beyond this, the oldest connection is destroyed, so that a flood of refused peers is bounded. */
const MAX_LINGERING = 256

export class LingeringClose {
  readonly #clock: Clock
  readonly #lingering = new Set<LingeringSocket>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get lingering(): number {
    return this.#lingering.size
  }

  close(socket: Socket, answer: RefusalAnswer): void {
    if (this.#lingering.size >= MAX_LINGERING) {
      const [oldest] = this.#lingering
      this.#lingering.delete(oldest!)
      oldest!.end()
    }
    const added = new LingeringSocket(this.#clock, socket, answer)
    this.#lingering.add(added)
    socket.once('close', () => this.#lingering.delete(added))
  }
}

class LingeringSocket {
  readonly #clock: Clock
  readonly #socket: Socket
  readonly #answer: RefusalAnswer
  readonly #end: Timer
  #waiting: Timer | undefined
  #input = 0

  constructor(clock: Clock, socket: Socket, answer: RefusalAnswer) {
    this.#clock = clock
    this.#socket = socket
    this.#answer = answer
    this.#end = clock.startBackgroundTimer(LINGER_MS, end, this)
    socket.on('error', ignore)
    socket.once('close', () => this.#closed())
    socket.on('data', (chunk: Uint8Array) => this.#onInput(chunk))
    socket.once('end', () => this.#waiting !== undefined && this.finish())
    if (answer.first !== undefined) socket.write(answer.first)
    if (answer.mayFollow === undefined) this.finish()
    else this.#waiting = clock.startBackgroundTimer(MAX_WAIT_MS, finish, this)
  }

  /** Sends the rest and half-closes. The connection closes when the peer does the same. */
  finish(): void {
    this.#stopWaiting()
    const { last } = this.#answer
    if (this.#socket.writable) this.#socket.end(typeof last === 'function' ? last() : last)
  }

  end(): void {
    this.#socket.destroy()
  }

  #onInput(chunk: Uint8Array): void {
    this.#input += chunk.length
    if (this.#waiting !== undefined && this.#answer.mayFollow?.(chunk) === true) this.finish()
    if (this.#input >= MAX_INPUT_BYTES) this.#socket.pause()
  }

  #closed(): void {
    this.#stopWaiting()
    this.#clock.stopTimer(this.#end)
  }

  #stopWaiting(): void {
    if (this.#waiting !== undefined) this.#clock.stopTimer(this.#waiting)
    this.#waiting = undefined
  }
}

function end(lingering: LingeringSocket): void {
  lingering.end()
}

function finish(lingering: LingeringSocket): void {
  lingering.finish()
}

function ignore(): void {}
