/**
 * A naive model of streams, bodies and windows, held against two real sessions. It knows only what
 * each side has written and read; every event is checked against it.
 */
import type { MuxStream, StreamEvents } from '../../src/mux/stream.ts'

export type Side = 'client' | 'server'

const PERIOD = 251
const PATTERN = Buffer.from(Array.from({ length: PERIOD + 600_000 }, (_, i) => i % PERIOD))

/** `expect` is too slow for a hundred thousand runs. */
export function same(actual: unknown, expected: unknown, what: string): void {
  if (actual === expected) return
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (is !== should || typeof actual !== 'object') throw new Error(`${what}: ${is}, expected ${should}`)
}

export function atMost(actual: number, most: number, what: string): void {
  if (actual > most) throw new Error(`${what}: ${actual}, at most ${most}`)
}

/** The bytes `from` to `from + length` of a body whose first byte is `seed`. */
export function content(seed: number, from: number, length: number): Buffer {
  const start = (seed + from) % PERIOD
  return PATTERN.subarray(start, start + length)
}

/** A body on its way from one side to the other. */
export class Flow {
  readonly seed: number
  written = 0
  received = 0
  /** Credited by the reader. */
  read = 0
  ended = false
  arrivedEnd = false
  trailers: readonly string[] | undefined
  /** The writer was asked to wait, and has not been called since. */
  waiting = false

  constructor(seed: number) {
    this.seed = seed
  }

  get unread(): number {
    return this.received - this.read
  }

  next(length: number): Buffer {
    const bytes = content(this.seed, this.written, length)
    this.written += length
    return bytes
  }

  arrived(chunk: Buffer, end: boolean): void {
    same(this.arrivedEnd, false, 'data after the end')
    atMost(this.received + chunk.length, this.written, 'more than was written')
    if (!content(this.seed, this.received, chunk.length).equals(chunk)) throw new Error('other bytes than were written')
    this.received += chunk.length
    if (end) this.#over(undefined)
  }

  arrivedTrailers(trailers: readonly string[]): void {
    this.#over(trailers)
  }

  #over(trailers: readonly string[] | undefined): void {
    same(this.arrivedEnd, false, 'a second end')
    this.arrivedEnd = true
    same(this.ended, true, 'an end that was not written')
    same(this.received, this.written, 'an end before the last byte')
    same(trailers ?? [], this.trailers ?? [], 'the trailers')
  }
}

export interface Head {
  readonly status: number
  readonly reason: string
  readonly headers: readonly string[]
}

/** One call as the model sees it, and what the two engines say about it. */
export class Exchange {
  readonly head: { method: string; path: string; headers: readonly string[] }
  readonly up: Flow
  readonly down: Flow
  client: MuxStream | undefined
  server: MuxStream | undefined
  /** Written by the server and not yet seen by the client. */
  readonly heads: Head[] = []
  responded = false
  answered = false
  /** The first event that was wrong. */
  problem: unknown
  /** Who gave up; that side sees no more events. */
  readonly gaveUp = new Set<Side>()
  /** Who has learned that the other side, or the connection, gave up. */
  readonly notified = new Map<Side, { executed: boolean }>()

  constructor(number: number, head: Exchange['head']) {
    this.head = head
    this.up = new Flow(number * 3)
    this.down = new Flow(number * 5 + 1)
  }

  handle(side: Side): MuxStream | undefined {
    return side === 'client' ? this.client : this.server
  }

  /** The body that `side` writes, and the one that it reads. */
  out(side: Side): Flow {
    return side === 'client' ? this.up : this.down
  }

  in(side: Side): Flow {
    return side === 'client' ? this.down : this.up
  }

  /** Whether `side` may act on it: it has neither given up nor learned of a reset. */
  alive(side: Side): boolean {
    return this.handle(side) !== undefined && !this.gaveUp.has(side) && !this.notified.has(side)
  }

  /** Both halves are over for `side`. */
  done(side: Side): boolean {
    return this.out(side).ended && this.in(side).arrivedEnd
  }

  requestArrived(stream: MuxStream, head: Exchange['head'], end: boolean): void {
    same(this.server, undefined, 'a request that arrives twice')
    same(head, this.head, 'the head')
    this.server = stream
    if (end) this.up.arrived(Buffer.alloc(0), true)
  }

  events(side: Side): StreamEvents {
    return new Watcher(this, side)
  }
}

/** Checks each event of one side. The first that is wrong is kept: engines call from any turn. */
class Watcher implements StreamEvents {
  readonly #exchange: Exchange
  readonly #side: Side

  constructor(exchange: Exchange, side: Side) {
    this.#exchange = exchange
    this.#side = side
  }

  responseArrived(stream: MuxStream, status: number, reason: string, headers: string[], end: boolean): void {
    this.#event(stream, 'a response', (exchange) => {
      same(this.#side, 'client', 'who gets responses')
      same(exchange.answered, false, 'a head after the final one')
      same({ status, reason, headers }, exchange.heads.shift(), 'the head')
      if (status >= 200) exchange.answered = true
      else same(end, false, 'an informational head that ends')
      if (end) exchange.down.arrived(Buffer.alloc(0), true)
    })
  }

  dataArrived(stream: MuxStream, chunk: Buffer, end: boolean): void {
    this.#event(stream, 'data', (exchange) => {
      if (this.#side === 'client') same(exchange.answered, true, 'data before the head')
      exchange.in(this.#side).arrived(chunk, end)
    })
  }

  trailersArrived(stream: MuxStream, headers: string[]): void {
    this.#event(stream, 'trailers', (exchange) => {
      if (this.#side === 'client') same(exchange.answered, true, 'trailers before the head')
      exchange.in(this.#side).arrivedTrailers(headers)
    })
  }

  wasReset(stream: MuxStream, { executed }: { executed: boolean }): void {
    this.#event(stream, 'a reset', (exchange) => {
      if (!executed) same([this.#side, exchange.server], ['client', undefined], 'who executes nothing')
      exchange.notified.set(this.#side, { executed })
    })
  }

  drained(stream: MuxStream): void {
    this.#event(stream, 'drained', (exchange) => {
      const flow = exchange.out(this.#side)
      if (!flow.ended) same(flow.waiting, true, 'drained without being asked to wait')
      flow.waiting = false
    })
  }

  #event(stream: MuxStream, what: string, check: (exchange: Exchange) => void): void {
    const exchange = this.#exchange
    try {
      const handle = exchange.handle(this.#side)
      same(handle === undefined || handle === stream, true, 'whose stream')
      if (handle !== undefined) same(exchange.alive(this.#side), true, `${what} after the end`)
      check(exchange)
    } catch (error) {
      exchange.problem ??= error
    }
  }
}
