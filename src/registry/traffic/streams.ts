/**
 * Event streams of the graph: every 5 s, and soon after a change, all who look at the same window
 * get the same text. A reader that does not keep up misses events, and is dropped in the end.
 */
import type { ServerResponse } from 'node:http'
import type { Clock, Timer } from '../../core/clock.ts'
import { ApiError } from '../api/error.ts'
import { beginStream, isHttp2, type OutgoingResponse } from '../api/request.ts'
import { SLOT_MS } from './slots.ts'

/** From one event to the next, whatever changes. */
const LEAST_MS = 2_000
/** So that what changes together is one event. */
const SOON_MS = 250
const MOST_STREAMS = 100
/** Of one operator. */
const MOST_PER_READER = 20
/** Different ones of one operator: each is summed up every 5 s. */
const MOST_WINDOWS = 4
/** Not taken by the socket: it misses the next event. */
const MOST_UNREAD = 1024 * 1024
/** A reader that takes nothing for so long is gone. */
const STUCK_MS = 20_000

interface Stream {
  readonly response: OutgoingResponse
  readonly reader: string
  readonly windowMs: number
  /** When it was last seen to read everything. */
  readAt: number
}

export class GraphStreams {
  readonly #clock: Clock
  readonly #graph: (windowMs: number) => Promise<unknown>
  readonly #failed: (error: unknown) => void
  readonly #streams = new Set<Stream>()
  #timer: Timer | undefined
  #isSending = false
  #tickAt = 0
  #dueAt = 0

  /** `graph` answers for a window that ends now. */
  constructor(clock: Clock, graph: (windowMs: number) => Promise<unknown>, failed: (error: unknown) => void) {
    this.#clock = clock
    this.#graph = graph
    this.#failed = failed
  }

  get size(): number {
    return this.#streams.size
  }

  /** @throws ApiError `overloaded` */
  open(response: OutgoingResponse, reader: string, windowMs: number): void {
    const ofReader = [...this.#streams].filter((one) => one.reader === reader)
    if (this.#streams.size >= MOST_STREAMS || ofReader.length >= MOST_PER_READER) {
      throw new ApiError('overloaded', 'too many streams of the graph are open; close some')
    }
    const windows = new Set(ofReader.map((one) => one.windowMs))
    if (windows.size >= MOST_WINDOWS && !windows.has(windowMs)) {
      throw new ApiError('overloaded', `streams of ${MOST_WINDOWS} different windows are open; close some`)
    }
    const stream: Stream = { response, reader, windowMs, readAt: this.#clock.now() }
    beginStream(response, 'text/event-stream')
    ;(response as ServerResponse).flushHeaders()
    this.#streams.add(stream)
    response.once('close', () => this.#streams.delete(stream))
    if (this.#timer === undefined) this.#wait(SLOT_MS)
    void this.#send(windowMs, [stream])
  }

  /** Something changed that readers are waiting for. */
  changed(): void {
    if (this.#timer === undefined) return
    const now = this.#clock.now()
    const waitMs = Math.max(SOON_MS, this.#tickAt + LEAST_MS - now)
    if (now + waitMs < this.#dueAt) this.#wait(waitMs)
  }

  close(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
    for (const { response } of this.#streams) (response as ServerResponse).end()
    this.#streams.clear()
  }

  #wait(ms: number): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#dueAt = this.#clock.now() + ms
    this.#timer = this.#clock.startBackgroundTimer(ms, () => void this.#tick(), undefined)
  }

  async #tick(): Promise<void> {
    this.#timer = undefined
    if (this.#streams.size === 0) return
    this.#tickAt = this.#clock.now()
    // What takes longer than its interval is sent less often, and never piles up.
    this.#wait(this.#isSending ? LEAST_MS : SLOT_MS)
    if (this.#isSending) return
    this.#isSending = true
    for (const [windowMs, streams] of Map.groupBy(this.#streams, (one) => one.windowMs)) {
      await this.#send(windowMs, streams)
    }
    this.#isSending = false
  }

  async #send(windowMs: number, streams: readonly Stream[]): Promise<void> {
    // A comment keeps proxies on the way from ending a stream that says nothing.
    let text = ': no answer\n\n'
    try {
      const graph = await this.#graph(windowMs)
      text = `event: graph\ndata: ${JSON.stringify(graph)}\n\n`
    } catch (error) {
      if (!(error instanceof ApiError)) this.#failed(error)
    }
    const now = this.#clock.now()
    for (const stream of streams) this.#write(stream, text, now)
  }

  #write(stream: Stream, text: string, now: number): void {
    const { response } = stream
    if (!this.#streams.has(stream) || response.destroyed || response.writableEnded) return
    const unread = isHttp2(response) ? (response.stream?.writableLength ?? 0) : response.writableLength
    if (unread === 0) stream.readAt = now
    else if (now - stream.readAt > STUCK_MS) {
      this.#streams.delete(stream)
      response.destroy()
      return
    }
    if (unread < MOST_UNREAD) (response as ServerResponse).write(text)
  }
}
