/**
 * Equal calls share one execution (collapsing); its result is kept for a short time (cache). The
 * execution is cancelled when its last caller leaves.
 *
 * - absent -> running: the first caller arrives · running -> kept: a success, if there is a cache ·
 *   running -> absent: otherwise, or all left
 * - kept -> absent: it expires, or 1,000 newer results push it out
 */
import { Call, type CallKind } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import { inboundCall, outsideCalls } from '../core/context.ts'

export interface SharingSettings {
  /** Whether calls join one that runs. */
  readonly collapse: boolean
  /** How long a success is kept; 0: not at all. */
  readonly cacheMs: number
}

/** Other instances may answer requests with overrides, so these share with their like only. */
function keyOf(given: string): string {
  const overrides = inboundCall()?.overrides
  return overrides === undefined ? given : JSON.stringify([given, overrides.origin, overrides.text])
}

/** More results are not kept: the oldest go. */
const MOST_KEPT = 1_000

interface Shared<T> {
  readonly root: Call
  readonly promise: Promise<T>
  waiting: number
}

interface Kept<T> {
  readonly value: T
  readonly until: number
}

export class SharedResults<T> {
  readonly #settings: SharingSettings
  readonly #clock: Clock
  readonly #running = new Map<string, Shared<T>>()
  readonly #kept = new Map<string, Kept<T>>()

  constructor(settings: SharingSettings, clock: Clock) {
    this.#settings = settings
    this.#clock = clock
  }

  get kept(): number {
    return this.#kept.size
  }

  /**
   * The result for `given`. `start` begins an execution as part of `root`, cancelled when no
   * caller waits any more; `keep` says whether a result may be kept. `left` makes the error for a
   * caller whose own request ended first.
   */
  get(
    given: string,
    kind: CallKind,
    start: (root: Call) => Promise<T>,
    left: (cause: unknown) => unknown,
    keep: (value: T) => boolean = () => true,
  ): Promise<T> {
    const now = this.#clock.now()
    const key = keyOf(given)
    const kept = this.#kept.get(key)
    if (kept !== undefined) {
      if (now < kept.until) return Promise.resolve(kept.value)
      this.#kept.delete(key)
    }
    let shared = this.#settings.collapse ? this.#running.get(key) : undefined
    if (shared === undefined) {
      shared = this.#start(key, kind, start, keep)
      if (this.#settings.collapse) this.#running.set(key, shared)
    }
    return this.#join(key, shared, left)
  }

  #start(key: string, kind: CallKind, start: (root: Call) => Promise<T>, keep: (value: T) => boolean): Shared<T> {
    const root = new Call(kind, this.#clock.now(), Number.POSITIVE_INFINITY, undefined)
    const parent = inboundCall()
    root.trace = parent?.trace
    root.peer = parent?.peer
    root.mirror = parent?.mirror === true
    root.overrides = parent?.overrides
    const promise = outsideCalls(() => start(root))
    const shared: Shared<T> = { root, promise, waiting: 0 }
    const over = (): void => {
      root.settled = true
      if (this.#running.get(key) === shared) this.#running.delete(key)
    }
    promise.then(
      (value) => {
        over()
        if (this.#settings.cacheMs > 0 && keep(value)) this.#keep(key, value)
      },
      () => over(),
    )
    return shared
  }

  #join(key: string, shared: Shared<T>, left: (cause: unknown) => unknown): Promise<T> {
    const parent = inboundCall()
    shared.waiting += 1
    if (parent === undefined || parent.over) return shared.promise
    return new Promise<T>((resolve, reject) => {
      const waiter = new Call(parent.kind, this.#clock.now(), parent.deadlineAt, parent)
      const done = (): void => {
        waiter.settled = true
        parent.release(waiter)
      }
      const leave = (cause: unknown): void => {
        done()
        shared.waiting -= 1
        if (shared.waiting === 0) {
          if (this.#running.get(key) === shared) this.#running.delete(key)
          shared.root.cancel(cause)
        }
        reject(left(cause))
      }
      waiter.whenCancelled = leave
      parent.adopt(waiter)
      shared.promise.then(
        (value) => {
          done()
          resolve(value)
        },
        (error: unknown) => {
          done()
          reject(error)
        },
      )
      if (parent.cancelled) leave(parent.cancelledBy)
    })
  }

  #keep(key: string, value: T): void {
    this.#kept.delete(key)
    this.#kept.set(key, { value, until: this.#clock.now() + this.#settings.cacheMs })
    if (this.#kept.size <= MOST_KEPT) return
    for (const oldest of this.#kept.keys()) {
      this.#kept.delete(oldest)
      return
    }
  }
}
