/** A session under attack: a test sends it raw frames, and reads what it answers and reports. */
import { MuxSession, type SessionEvents } from '../../src/mux/session.ts'
import { MUX_DEFAULTS, type MuxSettings } from '../../src/mux/settings.ts'
import type { MuxStream, StreamEvents } from '../../src/mux/stream.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { PREFACE, parse, type RawFrame, settings as settingsFrame } from './raw-mux.ts'
import { tick, WireSocket } from './wire.ts'

export class Victim {
  readonly clock = new FakeClock()
  readonly socket = new WireSocket()
  readonly session: MuxSession
  /** What the engine reports, in order: `request GET / host=inventory`, `data 5 end`, ... */
  readonly log: string[] = []
  /** Why the connection ended, as the engine reports it. */
  broken: string | undefined
  readonly streams: MuxStream[] = []
  /** Called for each request. */
  serve: (stream: MuxStream) => void = () => {}
  readonly #events: StreamEvents

  constructor(side: 'client' | 'server', settings: Partial<MuxSettings> = {}) {
    const { log } = this
    const headersOf = (flat: readonly string[]): string =>
      flat.map((text, i) => (i % 2 === 0 ? ` ${text}` : `=${text}`)).join('')
    this.#events = {
      responseArrived: (_stream, status, reason, headers, end) =>
        void log.push(
          `response ${status}${reason === '' ? '' : ` '${reason}'`}${headersOf(headers)}${end ? ' end' : ''}`,
        ),
      dataArrived: (stream, chunk, end) => {
        log.push(`data ${chunk.length}${end ? ' end' : ''}`)
        if (this.reads) stream.read(chunk.length)
      },
      trailersArrived: (_stream, headers) => void log.push(`trailers${headersOf(headers)}`),
      wasReset: (_stream, { code, reason, executed }) =>
        void log.push(`reset ${code}${executed ? '' : ' not executed'}: ${reason}`),
      drained: () => void log.push('drained'),
    }
    const events: SessionEvents = {
      requestArrived: (stream, method, path, headers, end) => {
        stream.events = this.#events
        this.streams.push(stream)
        log.push(`request ${method} ${path}${headersOf(headers)}${end ? ' end' : ''}`)
        this.serve(stream)
      },
      settled: () => void log.push('settled'),
      goingAway: (last, code, reason) => void log.push(`going away after ${last}, ${code}: ${reason}`),
      roomChanged: () => {},
      broken: (_code, reason) => {
        this.broken ??= reason
      },
      closed: () => void log.push('closed'),
    }
    this.session = new MuxSession(this.socket.asSocket(), side, { ...MUX_DEFAULTS, ...settings }, this.clock, events)
  }

  /** Credits all data as it arrives. */
  reads = false

  /** A session whose peer has said hello; its log is empty. */
  static async settled(
    side: 'client' | 'server',
    settings: Partial<MuxSettings> = {},
    hello = settingsFrame(),
  ): Promise<Victim> {
    const victim = new Victim(side, settings)
    await victim.send(...(side === 'server' ? [PREFACE] : []), hello)
    victim.sent()
    victim.log.length = 0
    return victim
  }

  /** Gives the engine bytes, and the ticks that it schedules. */
  async send(...frames: readonly Buffer[]): Promise<void> {
    this.session.receive(Buffer.concat(frames))
    await tick()
    await tick()
  }

  /** A client's call. */
  ask(
    method = 'GET',
    path = '/',
    headers: readonly string[] = ['host', 'inventory'],
    body?: Buffer | string,
    end = true,
  ): MuxStream {
    const stream = this.session.request(method, path, headers, body, end, this.#events)
    this.streams.push(stream)
    return stream
  }

  /** What the engine has sent since the last time. */
  sent(): RawFrame[] {
    const pieces: Buffer[] = []
    for (;;) {
      const bytes = this.socket.takeBytes(Number.POSITIVE_INFINITY)
      if (bytes.length === 0) return parse(Buffer.concat(pieces))
      pieces.push(Buffer.from(bytes))
    }
  }

  /** The types of the frames since the last time, with codes and reasons. */
  said(): string[] {
    return this.sent().map(({ type, stream, payload }) => {
      if (type === 'reset') return `reset ${stream} ${payload[0]}: ${payload.toString('latin1', 1)}`
      if (type === 'goAway') return `goAway ${payload[4]}: ${payload.toString('latin1', 5)}`
      return type === 'window' ? `window ${stream} ${payload.readUInt32BE(0)}` : `${type} ${stream}`
    })
  }
}
