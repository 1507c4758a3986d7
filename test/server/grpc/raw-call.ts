/** Calls that are written byte by byte, over what this run is over. */
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2'
import { connect } from 'node:net'
import { onTestFinished } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { MuxSession } from '../../../src/mux/session.ts'
import { MUX_DEFAULTS } from '../../../src/mux/settings.ts'
import type { MuxStream, StreamEvents } from '../../../src/mux/stream.ts'
import { RESET } from '../../../src/mux/wire.ts'
import { OVER_MUX } from '../../rigs/mux-gateway.ts'

type Headers = Readonly<Record<string, string>>

export interface RawCall {
  /** The `grpc-status`; `none`: it ended without one; `reset`. */
  readonly ended: Promise<string>
  write(bytes: Buffer): void
  end(): void
  reset(): void
}

export interface RawCaller {
  readonly closed: boolean
  begin(method: string, headers?: Headers): RawCall
}

/** One connection in plaintext. Closed when the test ends. */
export async function rawCaller(port: number): Promise<RawCaller> {
  return OVER_MUX ? new MuxCaller(await rawSession(port)) : new Http2Caller(port)
}

const HEADERS = ['host', 'inventory', 'content-type', 'application/grpc']

class MuxCaller implements RawCaller {
  readonly #session: MuxSession

  constructor(session: MuxSession) {
    this.#session = session
  }

  get closed(): boolean {
    return this.#session.leaving || this.#session.socket.destroyed
  }

  begin(method: string, headers: Headers = {}): RawCall {
    const answer = new Answer()
    const flat = [...HEADERS, ...Object.entries(headers).flat()]
    const stream = this.#session.request('POST', `/shop.Inventory/${method}`, flat, undefined, false, answer)
    return {
      ended: answer.ended.promise,
      write: (bytes) => void stream.write(bytes),
      end: () => void stream.end(),
      reset: () => void stream.reset(RESET.CANCELLED),
    }
  }
}

class Http2Caller implements RawCaller {
  readonly #session: ClientHttp2Session

  constructor(port: number) {
    this.#session = connectHttp2(`http://127.0.0.1:${port}`)
    this.#session.on('error', () => {})
    onTestFinished(() => void this.#session.destroy())
  }

  get closed(): boolean {
    return this.#session.closed || this.#session.destroyed
  }

  begin(method: string, headers: Headers = {}): RawCall {
    const stream = this.#session.request({
      ...{ ':method': 'POST', ':path': `/shop.Inventory/${method}`, 'content-type': 'application/grpc' },
      ...{ te: 'trailers', ...headers },
    })
    const ended = Promise.withResolvers<string>()
    const see = (given: Readonly<Record<string, unknown>>): void => {
      if (given['grpc-status'] !== undefined) ended.resolve(String(given['grpc-status']))
    }
    stream.on('response', see).on('trailers', see).resume()
    stream.on('error', () => {})
    stream.on('close', () => ended.resolve(stream.rstCode === constants.NGHTTP2_NO_ERROR ? 'none' : 'reset'))
    return {
      ended: ended.promise,
      write: (bytes) => void stream.write(bytes),
      end: () => void stream.end(),
      reset: () => void stream.close(constants.NGHTTP2_CANCEL),
    }
  }
}

/** The answer to one call on a mux session. */
export class Answer implements StreamEvents {
  status = 0
  readonly headers: string[] = []
  bytes = 0
  readonly ended = Promise.withResolvers<string>()

  responseArrived(_stream: MuxStream, status: number, _reason: string, headers: string[], end: boolean): void {
    this.status = status
    this.headers.push(...headers)
    if (end) this.ended.resolve(this.header('grpc-status') ?? 'none')
  }
  dataArrived(stream: MuxStream, chunk: Buffer, end: boolean): void {
    this.bytes += chunk.length
    stream.read(chunk.length)
    if (end) this.ended.resolve('none')
  }
  trailersArrived(_stream: MuxStream, headers: string[]): void {
    this.headers.push(...headers)
    this.ended.resolve(this.header('grpc-status') ?? 'none')
  }
  wasReset(): void {
    this.ended.resolve('reset')
  }
  drained(): void {}

  header(name: string): string | undefined {
    const at = this.headers.indexOf(name)
    return at < 0 ? undefined : this.headers[at + 1]
  }
}

/** A mux session whose streams are written by hand. Closed when the test ends. */
export async function rawSession(port: number): Promise<MuxSession> {
  const socket = connect({ port, host: '127.0.0.1' })
  onTestFinished(() => void socket.destroy())
  const settled = Promise.withResolvers<void>()
  const session = new MuxSession(socket, 'client', { ...MUX_DEFAULTS, maxStreams: 0 }, systemClock, {
    requestArrived() {},
    settled: () => settled.resolve(),
    goingAway() {},
    roomChanged() {},
    broken() {},
    closed() {},
  })
  socket.on('data', (bytes: Buffer) => session.receive(bytes))
  await settled.promise
  return session
}
