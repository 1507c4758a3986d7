/**
 * Sends processes to the other registries on the store, over seconds and while their sessions go
 * on: all when this registry goes away, a few when it has more than its share.
 */
import type { Clock, Timer } from '../core/clock.ts'
import type { Session } from './session.ts'

/** How long a registry that goes away takes to send all of its processes elsewhere. */
const SHED_MS = 3_000
/** Those that are still here then are cut off. */
const LONGEST_DRAIN_MS = 10_000
const STEP_MS = 50
/** A process that was sent away may need this long; then it may be sent away again. */
const AGAIN_MS = 30_000
/** Counts as gone, or as one that cannot go. */
const LEAVING_MS = 10_000
/** More than its share: above this many times the average, and above this many more. */
const SHARE = 1.25
const MORE = 10
const BALANCE_MS = 1_000
const MOST_A_SECOND = 20
/** Of what is too many, per second. */
const BALANCE_SHARE = 0.1
/** Given to processes that speak protocol 1: they come back after the session has ended. */
const RETRY_AFTER_MS = 500

export class Departures {
  readonly #clock: Clock
  readonly #sessions: { readonly all: Iterable<Session> }
  readonly #others: () => readonly { readonly sessions: number }[]
  /** When each was sent away, on the monotonic clock. */
  readonly #sent = new WeakMap<Session, number>()
  #timer: Timer

  /** `others`: the other registries, with how many sessions each has. */
  constructor(
    clock: Clock,
    sessions: { readonly all: Iterable<Session> },
    others: () => readonly { readonly sessions: number }[],
  ) {
    this.#clock = clock
    this.#sessions = sessions
    this.#others = others
    this.#timer = clock.startBackgroundTimer(BALANCE_MS, () => this.#balance(), undefined)
  }

  close(): void {
    this.#clock.stopTimer(this.#timer)
  }

  /**
   * Sends all away. Resolves when all have gone, after 10 s at the latest; at once if there is no
   * other registry.
   */
  drain(): Promise<void> {
    const clock = this.#clock
    this.close()
    if (this.#others().length === 0) return Promise.resolve()
    const begunAt = clock.now()
    const all = [...this.#sessions.all].length
    const told = new Set<Session>()
    const each = Math.max(1, Math.ceil((all * STEP_MS) / SHED_MS))
    return new Promise((resolve) => {
      const step = (): void => {
        const left = [...this.#sessions.all]
        if (left.length === 0 || clock.now() - begunAt >= LONGEST_DRAIN_MS) {
          resolve()
          return
        }
        const next = left.filter((session) => !told.has(session)).slice(0, each)
        for (const session of next) told.add(session)
        this.#send(next, true)
        // In the foreground: nothing else keeps the process alive until they have gone.
        this.#timer = clock.startTimer(STEP_MS, step, undefined)
      }
      step()
    })
  }

  #send(some: readonly Session[], all: boolean): void {
    for (const session of some) {
      this.#sent.set(session, this.#clock.now())
      if (session.movable) session.sendAway(STEP_MS)
      else if (all) session.goAway(RETRY_AFTER_MS)
    }
  }

  #balance(): void {
    const clock = this.#clock
    this.#timer = clock.startBackgroundTimer(BALANCE_MS, () => this.#balance(), undefined)
    const others = this.#others()
    if (others.length === 0) return
    const all = [...this.#sessions.all]
    const average = others.reduce((sum, other) => sum + other.sessions, all.length) / (others.length + 1)
    const sentFor = (session: Session): number => clock.now() - (this.#sent.get(session) ?? Number.NEGATIVE_INFINITY)
    const staying = all.filter((session) => sentFor(session) > LEAVING_MS)
    const tooMany = Math.floor(staying.length - Math.max(average * SHARE, average + MORE))
    if (tooMany <= 0) return
    const most = Math.min(MOST_A_SECOND, Math.ceil(tooMany * BALANCE_SHARE))
    const movable = staying.filter((session) => session.movable && sentFor(session) > AGAIN_MS)
    // From anywhere among them: those of one service often stand together.
    const from = Math.floor(clock.random() * movable.length)
    this.#send([...movable.slice(from), ...movable.slice(0, from)].slice(0, most), false)
  }
}
