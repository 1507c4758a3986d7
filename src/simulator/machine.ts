/**
 * A simulated machine: workers with one queue, whose speed depends on its neighbours. A running
 * job goes on at the new speed, and to its end when its caller is gone: few handlers look.
 */
import type { Call } from '../core/call.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { type Outcome, outcome, SUCCESS } from '../core/outcome.ts'
import type { Chance } from './chance.ts'
import { Fifo } from './fifo.ts'
import type { Handler } from './server.ts'

interface Job {
  readonly call: Call
  readonly reply: (outcome: Outcome) => void
  gone: boolean
  /** At speed 1, in ms, as of `since`. */
  workMs: number
  since: number
  timer: Timer | undefined
}

const EXPIRED = outcome('failure', 'deadline-exceeded')
const FULL = outcome('failure', 'overloaded', undefined, 503)

export class Machine {
  readonly #clock: Clock
  readonly #workers: number
  readonly #workMs: () => number
  readonly #mostWaiting: number
  readonly #queue = new Fifo<Job>()
  readonly #running = new Set<Job>()
  #speed = 1
  #slowness = 1

  /**
   * `workMs`: the time that the next request takes at speed 1. Requests beyond `mostWaiting` are
   * answered with 503.
   */
  constructor(clock: Clock, workers: number, workMs: () => number, mostWaiting = Number.POSITIVE_INFINITY) {
    this.#clock = clock
    this.#workers = workers
    this.#workMs = workMs
    this.#mostWaiting = mostWaiting
  }

  set speed(speed: number) {
    this.#change(speed, this.#slowness)
  }

  /** The factor by which it is slower than its speed. */
  set slowness(slowness: number) {
    this.#change(this.#speed, slowness)
  }

  #change(speed: number, slowness: number): void {
    const now = this.#clock.now()
    const before = this.#speed / this.#slowness
    this.#speed = speed
    this.#slowness = slowness
    for (const job of this.#running) {
      job.workMs -= (now - job.since) * before
      this.#clock.stopTimer(job.timer!)
      this.#run(job, now)
    }
  }

  readonly handle: Handler = (call, reply) => {
    if (this.#queue.length >= this.#mostWaiting) {
      reply(FULL)
      return
    }
    const job: Job = { call, reply, gone: false, workMs: 0, since: 0, timer: undefined }
    call.whenCancelled = () => {
      job.gone = true
    }
    this.#queue.push(job)
    this.#next()
  }

  #next(): void {
    while (this.#running.size < this.#workers) {
      const job = this.#queue.shift()
      if (job === undefined) return
      const now = this.#clock.now()
      // Expired work is not begun: the deadline travelled with the request.
      if (job.gone || now >= job.call.deadlineAt) {
        job.reply(EXPIRED)
        continue
      }
      job.workMs = this.#workMs()
      this.#running.add(job)
      this.#run(job, now)
    }
  }

  #run(job: Job, now: number): void {
    job.since = now
    job.timer = this.#clock.startTimer((job.workMs * this.#slowness) / this.#speed, this.#done, job)
  }

  readonly #done = (job: Job): void => {
    this.#running.delete(job)
    job.reply(SUCCESS)
    this.#next()
  }
}

/** How long a neighbour is awake at a time, on average. */
const AWAKE_MS = 2_000

/**
 * A neighbour that needs half of the machine while it is awake: in `share` of the time, 2 s at a
 * time on average. While it sleeps, the machine is twice as fast as it has to be. Returns what ends
 * its turns.
 */
export function antagonize(clock: Clock, chance: Chance, machine: Machine, usual: number, share: number): () => void {
  const asleepMs = (AWAKE_MS * (1 - share)) / share
  let next: Timer | undefined
  const turn = (awake: boolean): void => {
    machine.speed = awake ? usual : 2 * usual
    next = clock.startTimer(chance.exponential(awake ? AWAKE_MS : asleepMs), turn, !awake)
  }
  turn(chance.happens(share))
  return () => clock.stopTimer(next!)
}
