/**
 * Faults on purpose, on the serving side: what a handler's callers see when the service is slow,
 * failing or gone. Real sockets, so what is tested is what the client really does. Which requests
 * are hit is drawn from a seed and repeats itself exactly.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { systemClock } from '../core/clock.ts'
import type { Duration } from '../options/duration.ts'
import { check, fields, OptionsError, oneOf, optional, withDefault } from '../options/fields.ts'
import { duration, integer, share } from '../options/quantities.ts'
import type { HttpListener } from '../server/http/application.ts'
import { seededRandom } from './fake-clock.ts'

/** What goes wrong, and how often. */
export interface FaultOptions {
  /** Wait so long first, then the other fault, or else the handler. @defaultValue no wait */
  readonly delay?: Duration
  /**
   * Answer with this status, 400 to 599, instead of asking the handler. Not together with `reset`.
   */
  readonly status?: number
  /**
   * Close the connection without an answer: `'before'` the handler has run, or `'after'`, so that
   * the work is done and only its answer is lost. Callers cannot tell one from the other.
   */
  readonly reset?: 'before' | 'after'
  /** Share of the requests that are hit: `'50%'` or 0.5. @defaultValue `'100%'` */
  readonly share?: number | `${number}%`
  /** Only so many requests are hit, then all is well. @defaultValue no limit */
  readonly times?: number
  /** Of the draw by `share`; the same seed hits the same requests. @defaultValue 1 */
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
   * From the next request on; replaces what was set before. @throws OptionsError naming each wrong
   * field
   */
  set(options: FaultOptions): void {
    const settings = resolveFaults(options)
    this.#settings = settings
    this.#hitsLeft = settings.times
  }

  /** All is well again. What is being delayed ends as it was going to. */
  clear(): void {
    this.#settings = undefined
  }

  /**
   * The same handler behind this switch. An Express app is a listener; for Hono,
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
    // Drawn in any case, so that `times` does not shift which of the later ones are hit.
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
    // Nobody is there any more to be answered.
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
 * The first byte of an answer costs the connection. Own properties, because frameworks replace the
 * prototype.
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
