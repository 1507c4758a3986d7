/**
 * One HTTP/2 connection to a registry with its session stream; it never keeps the process alive.
 * It lives until either side ends it.
 */
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import type { ConnectionOptions } from 'node:tls'
import type { Clock, Timer } from '../../core/clock.ts'
import { isError, MeshError } from '../../core/errors.ts'
import { refusalOf as refusedPeer } from '../../identity/tls-options.ts'
import { LIMITS } from '../limits.ts'
import { SnapshotRejected } from '../read-field.ts'
import { LineReader } from './line-reader.ts'
import { readServerMessage } from './message-reader.ts'
import { objectIn, refusalOf } from './request.ts'
import { SnapshotParts } from './snapshot-parts.ts'
import { type ClientMessage, LEAST_PROTOCOL, type ServerMessage } from './wire.ts'

export interface ConnectionListener {
  message(message: ServerMessage): void
  /** A message was refused; the connection stays open. */
  rejected(reason: string): void
  /** Exactly once. */
  closed(reason: string): void
}

/** From the first packet to the greeting. */
const CONNECT_TIMEOUT_MS = 5_000
/** After this many unreadable messages in a row, the other side is no registry. */
const MOST_REJECTED = 100
const GOODBYE_MS = 500
/** What a registry says instead of a greeting, in characters. */
const LONGEST_REFUSAL = 8_192

/** Who opens the session. */
export interface Greeting {
  readonly service: string
  readonly process: string
  /** The newest that is spoken. */
  readonly protocol: number
  /** Absent: it sends no `traffic`, even to a registry that asks. */
  readonly traffic?: true
  /** Absent: it cannot be tapped. */
  readonly tap?: true
}

export class SessionConnection {
  readonly #session: ClientHttp2Session
  #stream: ClientHttp2Stream
  readonly #clock: Clock
  readonly #listener: ConnectionListener
  readonly #parts = new SnapshotParts()
  #timer: Timer | undefined
  #unanswered = 0
  #rejected = 0
  #closed = false
  #greeting: Greeting | undefined

  constructor(url: string, tls: ConnectionOptions, clock: Clock, listener: ConnectionListener) {
    this.#clock = clock
    this.#listener = listener
    this.#session = http2.connect(url, { ...tls, settings: { enablePush: false } })
    this.#session.on('error', (error) => this.#end(reasonOf(error)))
    this.#session.on('close', () => this.#end('the registry closed the connection'))
    this.#session.on('goaway', () => this.#end('the registry goes away'))
    this.#session.unref()
    // Of several addresses of a host, each has a handle.
    this.#session.once('connect', () => this.#session.unref())
    this.#timer = clock.startBackgroundTimer(CONNECT_TIMEOUT_MS, () => this.#end('no greeting in time'), undefined)
    this.#stream = this.#openStream()
  }

  /** Once, before any other message. A registry that knows only an older protocol gets that. */
  greet(greeting: Greeting): void {
    this.#greeting = greeting
    this.send({ type: 'hello', least: LEAST_PROTOCOL, ...greeting })
  }

  get open(): boolean {
    return !this.#closed
  }

  /** It is open, and what was sent has left; more would wait in memory. */
  get isReady(): boolean {
    return !this.#closed && !this.#stream.writableNeedDrain
  }

  send(message: ClientMessage): void {
    if (!this.#closed) this.#stream.write(`${JSON.stringify(message)}\n`)
  }

  /** A heartbeat. Two beats without an answer end the connection. */
  beat(): void {
    if (this.#closed) return
    if (this.#unanswered >= 2) {
      this.#end('the registry does not answer')
      return
    }
    this.#unanswered += 1
    this.send({ type: 'beat' })
    // A registry that reads but never answers would look alive without the echo.
    this.#session.ping((error) => {
      if (error === null || error === undefined) this.#unanswered = 0
    })
  }

  close(): void {
    this.#end('closed by us')
  }

  /**
   * Leaves: the registry no longer waits for this process to acknowledge changes. Resolves when the
   * registry has received it, after 500 ms at the latest; a process that exits earlier counts as
   * lost.
   */
  leave(watched: Iterable<string>): Promise<void> {
    for (const service of watched) this.send({ type: 'unwatch', service })
    this.#end('closed by us')
    if (this.#session.destroyed) return Promise.resolve()
    return new Promise((resolve) => {
      // In the foreground, because nothing else may keep the process alive until then.
      const timer = this.#clock.startTimer(GOODBYE_MS, resolve, undefined)
      this.#session.once('close', () => {
        this.#clock.stopTimer(timer)
        resolve()
      })
    })
  }

  #openStream(): ClientHttp2Stream {
    const stream = this.#session.request({ ':method': 'POST', ':path': '/v1/session' }, { endStream: false })
    // The stream of a protocol that was refused ends without the connection.
    const end = (reason: string): void => {
      if (stream === this.#stream) this.#end(reason)
    }
    stream.on('error', (error) => end(reasonOf(error)))
    stream.on('close', () => end('the registry ended the session'))
    let refusal: { readonly status: number; text: string } | undefined
    stream.on('response', ({ ':status': status = 0 }) => {
      if (status !== 200) refusal = { status, text: '' }
    })
    stream.on('end', () => {
      if (refusal === undefined) return
      end(`the registry refused the session${refusalOf({ status: refusal.status, body: objectIn(refusal.text) })}`)
    })
    const reader = new LineReader(LIMITS.lineBytes, (line) => {
      if (stream === this.#stream) this.#read(line)
    })
    stream.on('data', (chunk: Buffer) => {
      if (refusal !== undefined) {
        if (refusal.text.length < LONGEST_REFUSAL) refusal.text += chunk
        return
      }
      try {
        reader.push(chunk)
      } catch (error) {
        this.#listener.rejected((error as Error).message)
        end((error as Error).message)
      }
    })
    return stream
  }

  /** Whether the session is asked for anew, by the oldest protocol. */
  #fallsBack(message: ServerMessage | undefined): boolean {
    const greeting = this.#greeting
    if (message?.type !== 'error' || message.code !== 'protocol-unsupported') return false
    if (greeting === undefined || greeting.protocol <= LEAST_PROTOCOL) return false
    const refused = this.#stream
    this.#stream = this.#openStream()
    refused.close()
    this.greet({ ...greeting, protocol: LEAST_PROTOCOL })
    return true
  }

  #read(line: string | undefined): void {
    if (this.#closed) return
    let message: ServerMessage | undefined
    try {
      if (line === undefined) throw new SnapshotRejected('not UTF-8')
      message = readServerMessage(line)
      if (message?.type === 'snapshot' || message?.type === 'part') message = this.#parts.take(message)
    } catch (error) {
      if (!(error instanceof SnapshotRejected)) throw error
      this.#listener.rejected(error.message)
      this.#rejected += 1
      if (this.#rejected >= MOST_REJECTED) this.#end('this is no registry')
      return
    }
    this.#rejected = 0
    if (message?.type === 'welcome') {
      const most = this.#greeting?.protocol ?? message.protocol
      if (message.protocol > most) {
        this.#end(`the registry speaks protocol ${message.protocol}, we up to ${most}`)
        return
      }
      this.#stopTimer()
      this.#greeting = undefined
    } else if (this.#fallsBack(message)) return
    if (message !== undefined) this.#listener.message(message)
  }

  #stopTimer(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
  }

  #end(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#stopTimer()
    // At once it would drop what has not been sent yet.
    this.#stream.end(() => this.#stream.close())
    this.#session.close()
    // close() waits for the stream; a peer that is gone would keep it for ever.
    this.#clock.startBackgroundTimer(GOODBYE_MS, (session) => session.destroy(), this.#session)
    this.#listener.closed(reason)
  }
}

/** A refused certificate by its stable reason; TLS itself has only a code for it. */
function reasonOf(error: Error): string {
  // The stream of a connection that failed is canceled, and only its cause says why.
  const cause = isError(error.cause) ? error.cause : error
  const refused = cause instanceof MeshError ? undefined : refusedPeer(cause)
  return refused === undefined
    ? cause.message
    : `The registry's certificate was refused (${refused.reason}). ${refused.detail}`
}
