/**
 * Injects faults in front of a handler: delays, error statuses, closed connections. A seed chooses
 * the requests, so a test is repeatable.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { systemClock } from '../core/clock.ts'
import type { Duration } from '../options/duration.ts'
import { check, fields, OptionsError, oneOf, optional, withDefault } from '../options/fields.ts'
import { duration, integer, share } from '../options/quantities.ts'
import type { HttpListener } from '../server/http/application.ts'
import { seededRandom } from './fake-clock.ts'

/** The fault, and how often it occurs. */
export interface FaultOptions {
  /** Delay before the other fault or the handler. @defaultValue no delay */
  readonly delay?: Duration
  /**
   * Answer with this status, 400 to 599, instead of asking the handler. Not together with `reset`.
   * @defaultValue none
   */
  readonly status?: number
  /**
   * Close the connection without a response: `'before'` the handler runs, or `'after'`, when only
   * the response is lost. Callers cannot distinguish the two. @defaultValue none
   */
  readonly reset?: 'before' | 'after'
  /** Share of the requests that are hit: `'50%'` or 0.5. @defaultValue `'100%'` */
  readonly share?: number | `${number}%`
  /** How many requests are hit before the fault ends. @defaultValue no limit */
  readonly times?: number
  /** Seed of the choice by `share`; the same seed hits the same requests. @defaultValue 1 */
  readonly seed?: number
}

const FIELDS = fields({
  delay: optional(duration({ min: 0, max: 600_000 })),
  status: optional(integer({ min: 400, max: 599 })),
  reset: optional(oneOf(['before', 'after'])),
  share: withDefault(share(), 1),
  times: optional(integer({ min: 1, max: 1_000_000_000 })),
  seed: withDefault(integer({ min: 0, max: 2 ** 32 - 1 }), 1),
})

interface FaultSettings {
  readonly delayMs: number
  readonly status: number | undefined
  readonly reset: 'before' | 'after' | undefined
  readonly share: number
  readonly times: number
  readonly random: () => number
}

function resolveFaults(options: FaultOptions): FaultSettings {
  const { delay = 0, status, reset, share, times, seed } = check(FIELDS, options, 'faults')
  if (status !== undefined && reset !== undefined) {
    throw new OptionsError('faults', [{ path: ['reset'], message: 'give either status or reset' }])
  }
  return { delayMs: delay, status, reset, share, times: times ?? Number.POSITIVE_INFINITY, random: seededRandom(seed) }
}

/**
 * A switch for faults, put before a handler. One switch may stand before several handlers: then the
 * whole service is slow.
 *
 * @example
 * ```ts
 * const faults = new Faults()
 * await mesh.serve(faults.before(app))
 * faults.set({ status: 503, times: 2 })    // the next two requests fail
 * faults.set({ delay: '2s', share: '10%' }) // from now on one in ten is slow
 * faults.clear()
 * ```
 */
export class Faults {
  #settings: FaultSettings | undefined
  #hitsLeft = 0
  #requests = 0
  #injected = 0

  /** @throws OptionsError naming each wrong field */
  constructor(options?: FaultOptions) {
    if (options !== undefined) this.set(options)
  }

  /** Requests so far, hit or not. */
  get requests(): number {
    return this.#requests
  }

  /** Requests that were hit. */
  get injected(): number {
    return this.#injected
  }

  /**
   * Applies to the next requests and replaces the fault set before. @throws OptionsError naming
   * each wrong field
   */
  set(options: FaultOptions): void {
    const settings = resolveFaults(options)
    this.#settings = settings
    this.#hitsLeft = settings.times
  }

  /** Ends the fault. Requests that are being delayed end as planned. */
  clear(): void {
    this.#settings = undefined
  }

  /**
   * Returns `handler` behind this switch. An Express app is a listener; for Hono,
   * `getRequestListener(app.fetch)` makes one.
   */
  before(handler: HttpListener): HttpListener {
    return (request, response) => {
      this.#requests += 1
      const fault = this.#draw()
      return fault === undefined ? handler(request, response) : hit(fault, handler, request, response)
    }
  }

  #draw(): FaultSettings | undefined {
    const fault = this.#settings
    if (fault === undefined || this.#hitsLeft === 0) return undefined
    // Draws in any case, so that `times` does not change which later requests are hit.
    if (fault.random() >= fault.share) return undefined
    this.#hitsLeft -= 1
    this.#injected += 1
    return fault
  }
}

async function hit(
  { delayMs, status, reset }: FaultSettings,
  handler: HttpListener,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<unknown> {
  if (delayMs > 0) {
    await pause(delayMs, response)
    // The caller is gone.
    if (response.destroyed || response.writableEnded) return
  }
  if (reset === 'before') {
    request.socket.destroy()
    return
  }
  if (status !== undefined) {
    request.resume()
    response.writeHead(status, { 'content-type': 'text/plain' })
    response.end('a fault that a test asked for')
    return
  }
  if (reset === 'after') loseAnswer(request, response)
  await handler(request, response)
}

/** Ends early if the caller goes away. */
function pause(ms: number, response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      systemClock.stopTimer(timer)
      response.off('close', done)
      resolve()
    }
    const timer = systemClock.startBackgroundTimer(ms, done, undefined)
    response.once('close', done)
  })
}

/**
 * Closes the connection at the first byte of the response. Sets own properties, because frameworks
 * replace the prototype.
 */
function loseAnswer(request: IncomingMessage, response: ServerResponse): void {
  const lose = (): void => {
    request.socket.destroy()
  }
  Object.assign(response, {
    flushHeaders: lose,
    write: () => {
      lose()
      return false
    },
    end: () => {
      lose()
      return response
    },
  })
}
