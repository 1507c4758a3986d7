/**
 * `/hystrix.stream` of the admin listener: server-sent events with each service that is called,
 * each guarded function, and each bulkhead, for the Hystrix dashboard and Turbine.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock, Timer } from '../../core/clock.ts'
import { listedFunctions, type WatchedFunction } from '../../resilience/guard/watched-functions.ts'
import type { OpossumCircuit } from '../../resilience/opossum-circuit.ts'
import type { Metrics } from '../metrics.ts'
import { commandName, functionNames } from './command-names.ts'
import { command, threadPool } from './commands.ts'
import { RollingUsage, SAMPLE_MS } from './rolling-usage.ts'

/** Hystrix's default of `maxConcurrentConnections`. */
export const MOST_STREAMS = 5
/** Hystrix's default of `delay`, and what is valid. */
const DELAY_MS = 500
const LEAST_DELAY_MS = 100
const MOST_DELAY_MS = 60_000
/** A reader that takes nothing for longer is cut off. */
const STALLED_MS = 5_000

export interface HystrixSources {
  readonly service: string
  readonly metrics: Metrics
  readonly clock: Clock
  /** Of the services that are called; several may have one name. */
  circuits(): Iterable<OpossumCircuit>
}

interface Stream {
  readonly response: ServerResponse
  readonly delayMs: number
  timer: Timer | undefined
}

export class HystrixStreams {
  readonly #sources: HystrixSources
  readonly #services: RollingUsage
  readonly #functions: RollingUsage
  readonly #streams = new Set<Stream>()
  #sampling: Timer | undefined
  #isClosed = false

  constructor(sources: HystrixSources) {
    this.#sources = sources
    this.#services = new RollingUsage(sources.metrics, 'services')
    this.#functions = new RollingUsage(sources.metrics, 'functions')
  }

  /** Answers until the reader goes, or {@link close}. Returns why not, and with which status. */
  open(request: IncomingMessage, response: ServerResponse): { status: number; why: string } | undefined {
    const delayMs = delayOf(request.url ?? '')
    if (delayMs === undefined) {
      return { status: 400, why: `delay: expected whole ms from ${LEAST_DELAY_MS} to ${MOST_DELAY_MS}` }
    }
    if (this.#isClosed || this.#streams.size >= MOST_STREAMS) {
      return { status: 503, why: `at most ${MOST_STREAMS} streams at once` }
    }
    const stream: Stream = { response, delayMs, timer: undefined }
    this.#streams.add(stream)
    request.socket.setTimeout(delayMs + STALLED_MS)
    response.on('close', () => this.#end(stream))
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-store, max-age=0, must-revalidate',
      'x-content-type-options': 'nosniff',
    })
    if (this.#sampling === undefined) this.#sample()
    this.#write(stream)
    return undefined
  }

  close(): void {
    this.#isClosed = true
    for (const stream of [...this.#streams]) {
      stream.response.end()
      this.#end(stream)
    }
  }

  #end(stream: Stream): void {
    const { clock } = this.#sources
    if (stream.timer !== undefined) clock.stopTimer(stream.timer)
    stream.timer = undefined
    this.#streams.delete(stream)
    if (this.#streams.size > 0 || this.#sampling === undefined) return
    clock.stopTimer(this.#sampling)
    this.#sampling = undefined
    this.#services.forget()
    this.#functions.forget()
  }

  #sample(): void {
    const { clock } = this.#sources
    this.#sampling = clock.startBackgroundTimer(SAMPLE_MS, () => this.#sample(), undefined)
    const now = clock.now()
    this.#services.sample(now)
    this.#functions.sample(now)
  }

  #write(stream: Stream): void {
    const { response, delayMs } = stream
    // What a slow reader has not taken is not piled up.
    if (!response.writableNeedDrain) response.write(this.#events())
    stream.timer = this.#sources.clock.startBackgroundTimer(delayMs, () => this.#write(stream), undefined)
  }

  #events(): string {
    const { service, clock, circuits } = this.#sources
    const wallNow = clock.wallNow()
    const events: unknown[] = []
    const byName = Map.groupBy(circuits.call(this.#sources), ({ name }) => name)
    const usage = this.#services.usage()
    const services = new Set([...usage.keys(), ...byName.keys()])
    for (const name of services) {
      const parts = { name: commandName(name), group: service, usage: usage.get(name), limit: undefined, wallNow }
      events.push(command({ ...parts, circuits: byName.get(name) ?? [] }))
    }
    events.push(...this.#functionEvents(services, wallNow))
    return events.length === 0 ? ': ping\n\n' : events.map((one) => `data: ${JSON.stringify(one)}\n\n`).join('')
  }

  *#functionEvents(services: Iterable<string>, wallNow: number): IterableIterator<unknown> {
    const functions = Map.groupBy(listedFunctions(), ({ name }) => name)
    const usage = this.#functions.usage()
    for (const [own, name] of functionNames(new Set([...usage.keys(), ...functions.keys()]), services)) {
      const known = functions.get(own) ?? []
      const circuits = known.flatMap(({ breaker }) => (breaker === undefined ? [] : [breaker.circuit]))
      const limit = limitOf(known)
      const parts = { name, usage: usage.get(own), wallNow }
      yield command({ ...parts, group: 'functions', circuits, limit })
      if (limit !== undefined) yield threadPool({ ...parts, limit, ...heldBy(known) })
    }
  }
}

/** Of all objects that have the method. */
function heldBy(functions: readonly WatchedFunction[]) {
  return {
    inFlight: functions.reduce((sum, { bulkhead }) => sum + (bulkhead?.inFlight ?? 0), 0),
    waiting: functions.reduce((sum, { queue }) => sum + (queue?.size ?? 0), 0),
    room: functions.reduce((sum, { queue }) => sum + (queue?.room ?? 0), 0),
  }
}

/** Of all objects that have the method; `undefined`: it has no bulkhead. */
function limitOf(functions: readonly WatchedFunction[]): number | undefined {
  const limits = functions.flatMap(({ bulkhead }) => (bulkhead === undefined ? [] : [bulkhead.limit]))
  return limits.length === 0 ? undefined : limits.reduce((sum, limit) => sum + limit, 0)
}

/** `undefined`: it is not valid. */
function delayOf(url: string): number | undefined {
  const given = new URLSearchParams(url.split('?', 2)[1] ?? '').get('delay')
  if (given === null) return DELAY_MS
  const ms = /^\d{1,6}$/.test(given) ? Number(given) : Number.NaN
  return ms >= LEAST_DELAY_MS && ms <= MOST_DELAY_MS ? ms : undefined
}
