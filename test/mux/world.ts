/** Two sessions on a connection in memory, moved by steps that a test draws at random. */
import fc from 'fast-check'
import { MuxSession, type SessionEvents } from '../../src/mux/session.ts'
import { MUX_DEFAULTS } from '../../src/mux/settings.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { atMost, Exchange, type Side, same } from './model.ts'
import { carry, tick, WireSocket } from './wire.ts'

export type Step =
  | { do: 'request'; size: number; end: boolean; headers: number }
  | { do: 'respond'; pick: number; status: number; size: number; end: boolean }
  | { do: 'write'; side: Side; pick: number; size: number }
  | { do: 'end'; side: Side; pick: number; trailers: boolean }
  | { do: 'read'; side: Side; pick: number; part: number }
  | { do: 'reset'; side: Side; pick: number }
  | { do: 'deliver'; to: Side; bytes: number }
  | { do: 'goAway' }

const side = fc.constantFrom<Side>('client', 'server')
const pick = fc.nat(30)
const size = fc.oneof(fc.nat(40), fc.nat(20_000), fc.constantFrom(0, 16_383, 16_384, 16_385, 65_535, 300_000))

/** Deliveries of few bytes split every frame somewhere. */
const bytes = fc.oneof(fc.integer({ min: 1, max: 30 }), fc.nat(20_000), fc.constant(1_000_000))

export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 16,
    arbitrary: fc.record({ do: fc.constant('request' as const), size, end: fc.boolean(), headers: fc.nat(5) }),
  },
  {
    weight: 16,
    arbitrary: fc.record({
      do: fc.constant('respond' as const),
      pick,
      status: fc.constantFrom(100, 103, 200, 200, 200, 404, 503),
      size,
      end: fc.boolean(),
    }),
  },
  { weight: 12, arbitrary: fc.record({ do: fc.constant('write' as const), side, pick, size }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant('end' as const), side, pick, trailers: fc.boolean() }) },
  { weight: 16, arbitrary: fc.record({ do: fc.constant('read' as const), side, pick, part: fc.constantFrom(1, 0.5) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('reset' as const), side, pick }) },
  { weight: 48, arbitrary: fc.record({ do: fc.constant('deliver' as const), to: side, bytes }) },
  { weight: 1, arbitrary: fc.constant({ do: 'goAway' as const }) },
)

/** Small, so that every bound is met. */
export const WINDOWS = { streamWindow: 70_000, connectionWindow: 150_000, maxStreams: 6 }

/** A head with a longer body asks its writer to wait, too. */
const HIGH_WATER_BYTES = 65_536

class End {
  readonly socket = new WireSocket()
  readonly session: MuxSession
  /** Why the session ended the connection. */
  readonly faults: string[] = []

  constructor(side: Side, clock: FakeClock, requestArrived: SessionEvents['requestArrived']) {
    const nothing = (): void => {}
    const events: SessionEvents = {
      requestArrived,
      settled: nothing,
      goingAway: nothing,
      roomChanged: nothing,
      broken: (code, reason) => this.faults.push(`${code} ${reason}`),
      closed: nothing,
    }
    this.session = new MuxSession(this.socket.asSocket(), side, { ...MUX_DEFAULTS, ...WINDOWS }, clock, events)
  }
}

const HEADERS: readonly (readonly string[])[] = [
  [],
  ['content-type', 'application/json'],
  ['x-one', '', 'x-one', 'two'],
  ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
  ['accept', 'a\u00e9b', 'inmesh-timeout-ms', '250'],
]

/** Runs steps against two sessions, and holds every event against the model. */
export class World {
  readonly clock = new FakeClock()
  readonly #exchanges: Exchange[] = []
  readonly #byId = new Map<number, Exchange>()
  readonly #ends: Record<Side, End>
  #leaving = false

  constructor() {
    this.#ends = {
      client: new End('client', this.clock, () => {
        throw new Error('a request to a client')
      }),
      server: new End('server', this.clock, (stream, method, path, headers, end) => {
        const exchange = this.#byId.get(stream.id)!
        stream.events = exchange.events('server')
        exchange.requestArrived(stream, { method, path, headers: [...headers] }, end)
      }),
    }
  }

  async run(steps: readonly Step[]): Promise<void> {
    await this.#exchangeAll()
    for (const one of steps) {
      this.#apply(one)
      this.#check()
      await tick()
      this.#check()
    }
    await this.#finish()
  }

  #apply(one: Step): void {
    switch (one.do) {
      case 'request':
        this.#request(one.size, one.end, one.headers)
        return
      case 'respond':
        this.#respond(one)
        return
      case 'write':
        this.#write(one)
        return
      case 'end': {
        const exchange = this.#pick(one.pick, (e) => this.#mayWrite(e, one.side))
        if (exchange !== undefined) this.#endBody(exchange, one.side, one.trailers)
        return
      }
      case 'read': {
        const exchange = this.#pick(one.pick, (e) => e.alive(one.side) && e.in(one.side).unread > 0)
        if (exchange !== undefined) this.#read(exchange, one.side, one.part)
        return
      }
      case 'reset': {
        const exchange = this.#pick(one.pick, (e) => e.alive(one.side) && !e.done(one.side))
        if (exchange === undefined) return
        exchange.gaveUp.add(one.side)
        exchange.handle(one.side)!.reset(1, 'no longer wanted')
        return
      }
      case 'deliver':
        this.#deliver(one.to, one.bytes)
        return
      case 'goAway':
        this.#leaving = true
        this.#ends.server.session.goAway(0)
    }
  }

  #deliver(to: Side, most?: number): number {
    const from = to === 'client' ? 'server' : 'client'
    return carry(this.#ends[from].socket, this.#ends[to].session, most)
  }

  #pick(number: number, fits: (exchange: Exchange) => boolean): Exchange | undefined {
    const fitting = this.#exchanges.filter(fits)
    return fitting[number % Math.max(1, fitting.length)]
  }

  #mayWrite(exchange: Exchange, side: Side): boolean {
    return exchange.alive(side) && !exchange.out(side).ended && (side === 'client' || exchange.responded)
  }

  #request(size: number, end: boolean, headers: number): void {
    const { session } = this.#ends.client
    if (session.room === 0) return
    const head = {
      method: size === 0 ? 'GET' : 'POST',
      path: `/items/${this.#exchanges.length}`,
      headers: HEADERS[headers % HEADERS.length]!,
    }
    const exchange = new Exchange(this.#exchanges.length, head)
    this.#exchanges.push(exchange)
    const body = size === 0 ? undefined : exchange.up.next(size)
    if (end) exchange.up.ended = true
    const stream = session.request(head.method, head.path, head.headers, body, end, exchange.events('client'))
    exchange.client = stream
    this.#byId.set(stream.id, exchange)
    exchange.up.waiting = stream.queued >= HIGH_WATER_BYTES
  }

  #respond({ pick: number, status, size, end }: Step & { do: 'respond' }): void {
    const exchange = this.#pick(number, (e) => e.alive('server') && !e.responded)
    if (exchange === undefined) return
    const head = { status, reason: status === 404 ? 'Nothing here' : '', headers: HEADERS[size % HEADERS.length]! }
    exchange.heads.push(head)
    if (status < 200) {
      exchange.server!.respond(status, head.reason, head.headers, undefined, false)
      return
    }
    exchange.responded = true
    const body = size === 0 ? undefined : exchange.down.next(size)
    if (end) exchange.down.ended = true
    exchange.server!.respond(status, head.reason, head.headers, body, end)
    exchange.down.waiting = exchange.server!.queued >= HIGH_WATER_BYTES
  }

  #write({ side: writer, pick: number, size }: Step & { do: 'write' }): void {
    const exchange = this.#pick(number, (e) => this.#mayWrite(e, writer))
    if (exchange === undefined) return
    const flow = exchange.out(writer)
    if (!exchange.handle(writer)!.write(flow.next(size))) flow.waiting = true
  }

  #endBody(exchange: Exchange, writer: Side, trailers: boolean): void {
    const flow = exchange.out(writer)
    flow.ended = true
    if (trailers) flow.trailers = ['x-end', String(flow.written)]
    exchange.handle(writer)!.end(flow.trailers)
  }

  #read(exchange: Exchange, reader: Side, part: number): void {
    const flow = exchange.in(reader)
    const bytes = Math.ceil(flow.unread * part)
    flow.read += bytes
    exchange.handle(reader)!.read(bytes)
  }

  /** What must hold after every step. */
  #check(): void {
    for (const at of ['client', 'server'] as const) {
      const { session, faults } = this.#ends[at]
      same(faults, [], `what the ${at} objects to`)
      let unread = 0
      let open = 0
      for (const exchange of this.#exchanges) {
        if (exchange.problem !== undefined) throw exchange.problem
        if (!exchange.alive(at)) continue
        const flow = exchange.in(at)
        atMost(flow.unread, WINDOWS.streamWindow, 'unread bytes of a stream')
        unread += flow.unread
        if (!exchange.handle(at)!.closed) open += 1
      }
      atMost(unread, WINDOWS.connectionWindow, 'unread bytes of all streams')
      same(session.open, open, 'open streams')
    }
    atMost(this.#ends.server.session.open, WINDOWS.maxStreams, 'streams of a peer')
  }

  /** Carries everything over until nothing moves. */
  async #exchangeAll(): Promise<void> {
    for (let moved = 1; moved > 0; ) {
      await tick()
      moved = this.#deliver('client') + this.#deliver('server')
      await tick()
      this.#check()
    }
  }

  /** Every call that can end well does, and nothing is left of it. */
  async #finish(): Promise<void> {
    for (let round = 0; round < 100; round++) {
      await this.#exchangeAll()
      let moved = false
      for (const exchange of this.#exchanges) {
        if (exchange.alive('server') && !exchange.responded) {
          exchange.responded = true
          exchange.heads.push({ status: 200, reason: '', headers: [] })
          exchange.server!.respond(200, '', [], undefined, false)
          moved = true
        }
        for (const at of ['client', 'server'] as const) {
          if (exchange.alive(at) && exchange.in(at).unread > 0) {
            this.#read(exchange, at, 1)
            moved = true
          }
          // A writer that waits ends only after `drained`.
          if (this.#mayWrite(exchange, at) && !exchange.out(at).waiting) {
            this.#endBody(exchange, at, false)
            moved = true
          }
        }
      }
      if (!moved) break
    }
    for (const exchange of this.#exchanges) {
      if (exchange.gaveUp.size > 0) {
        for (const at of ['client', 'server'] as const) {
          if (exchange.alive(at))
            same(exchange.done(at) || exchange.handle(at)!.closed, true, 'a reset that is not seen')
        }
        continue
      }
      if (exchange.notified.size > 0) {
        same(this.#leaving && exchange.notified.get('client'), { executed: false }, 'a reset without a cause')
        continue
      }
      for (const at of ['client', 'server'] as const) {
        const flow = exchange.in(at)
        same([flow.received, flow.arrivedEnd], [flow.written, true], 'a whole body')
        same(exchange.handle(at)!.closed, true, 'a closed stream')
      }
      same(exchange.heads, [], 'heads that never arrived')
    }
    same([this.#ends.client.session.open, this.#ends.server.session.open], [0, 0], 'open streams')
  }
}
