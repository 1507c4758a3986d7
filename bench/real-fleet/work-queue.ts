/**
 * Workers behind one FIFO queue. Work is the time of a timer and takes no CPU. Real and simulated
 * servers have the same queue, so their logs are read alike.
 */
import { Fifo } from '../../src/simulator/fifo.ts'

/** One request at a server. Instants are in ms on the clock of the run. */
export interface Served {
  /** When the caller began the call. */
  readonly sentAt: number
  readonly arrivedAt: number
  /** `null`: it left the queue before a worker was free. */
  beganAt: number | null
  /** When the worker was free again, or the caller had gone. */
  endedAt: number
}

export interface QueueParts {
  readonly workers: number
  /** How long the next request takes. */
  readonly workMs: () => number
  readonly now: () => number
  readonly startTimer: (ms: number, fire: () => void) => void
}

interface Job {
  readonly served: Served
  readonly done: () => void
  gone: boolean
}

export class WorkQueue {
  /** In the order of arrival. `endedAt` is 0 while one is here. */
  readonly log: Served[] = []
  readonly #parts: QueueParts
  readonly #waiting = new Fifo<Job>()
  #busy = 0

  constructor(parts: QueueParts) {
    this.#parts = parts
  }

  /**
   * `done` is called when the work is done. Returns what a caller does who leaves: `false`, if its
   * work has begun and goes on.
   */
  push(sentAt: number, done: () => void): () => boolean {
    const served: Served = { sentAt, arrivedAt: this.#parts.now(), beganAt: null, endedAt: 0 }
    const job: Job = { served, done, gone: false }
    this.log.push(served)
    this.#waiting.push(job)
    this.#next()
    return () => {
      if (served.beganAt !== null || job.gone) return false
      job.gone = true
      served.endedAt = this.#parts.now()
      return true
    }
  }

  #next(): void {
    while (this.#busy < this.#parts.workers) {
      const job = this.#waiting.shift()
      if (job === undefined) return
      if (job.gone) continue
      this.#busy += 1
      job.served.beganAt = this.#parts.now()
      this.#parts.startTimer(this.#parts.workMs(), () => this.#end(job))
    }
  }

  #end({ served, done }: Job): void {
    this.#busy -= 1
    served.endedAt = this.#parts.now()
    done()
    this.#next()
  }
}
