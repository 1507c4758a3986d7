/** Publishes how far the processes of this registry are, in a record that vanishes with it. */
import type { Clock, Timer } from '../../core/clock.ts'
import { KEYS } from '../records.ts'
import type { RegistryState } from '../state.ts'
import type { Announcement } from '../storage/storage.ts'
import type { RegistryAuthority } from './authority.ts'
import { AWAY_LEASES, MOST_NAMED, type ProgressRecord } from './progress.ts'

/** A process with a session, as a session tells it. */
export interface TrustingProcess {
  /** Service and process; `undefined` before it has said who it is. */
  readonly process: string | undefined
  /** The bundle that it has in force; -1: it has not said so. */
  readonly trusts: number
}

const LOOK_MS = 250
/** Between writes for what decides nothing, such as the number of processes. */
const COUNTS_MS = 5_000
const RETRY_MS = 1_000

export interface ProgressReporterOptions {
  readonly state: RegistryState
  readonly authority: RegistryAuthority
  readonly processes: () => Iterable<TrustingProcess>
  readonly clock: Clock
  /** Of this registry. */
  readonly id: string
  readonly leaseMs: number
  /** Whether processes of an earlier run may come back. */
  readonly hasPast: boolean
  readonly failed: (error: unknown) => void
}

export class ProgressReporter {
  readonly #options: ProgressReporterOptions
  readonly #settledAt: number
  /** By name; monotonic. */
  readonly #away = new Map<string, { readonly trusts: number; readonly until: number }>()
  #announcement: Announcement | undefined
  #published = ''
  #decisive = ''
  #publishedAt = Number.NEGATIVE_INFINITY
  #writing = false
  #timer: Timer | undefined
  #closed = false

  constructor(options: ProgressReporterOptions) {
    this.#options = options
    const { clock, hasPast, leaseMs } = options
    this.#settledAt = clock.now() + (hasPast ? AWAY_LEASES * leaseMs : 0)
  }

  /** The first record; the rest follows by itself. Rejects if the store cannot be written. */
  async start(): Promise<void> {
    await this.#publish()
    this.#next()
  }

  /** A session has ended, and its process has not said goodbye. */
  lost({ process, trusts }: TrustingProcess): void {
    if (process === undefined) return
    const { clock, leaseMs } = this.#options
    this.#away.set(process, { trusts, until: clock.now() + AWAY_LEASES * leaseMs })
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== undefined) this.#options.clock.stopTimer(this.#timer)
    await this.#announcement?.end().catch(() => {})
  }

  #next(): void {
    if (this.#closed) return
    this.#timer = this.#options.clock.startBackgroundTimer(
      LOOK_MS,
      () => {
        this.#next()
        this.#look()
      },
      undefined,
    )
  }

  #look(): void {
    if (this.#writing) return
    const { clock, failed } = this.#options
    const record = this.#record()
    const isDecisive = decisiveOf(record) !== this.#decisive
    const isDue = clock.now() - this.#publishedAt >= COUNTS_MS && JSON.stringify(record) !== this.#published
    if (this.#announcement !== undefined && !isDecisive && !isDue) return
    if (this.#announcement === undefined && clock.now() - this.#publishedAt < RETRY_MS) return
    this.#publish().catch(failed)
  }

  async #publish(): Promise<void> {
    const { state, clock, id } = this.#options
    const record = this.#record()
    const text = JSON.stringify(record)
    this.#writing = true
    this.#publishedAt = clock.now()
    try {
      if (this.#announcement === undefined) {
        const announcement = await state.store.announce(KEYS.progress(id), text)
        this.#announcement = announcement
        void announcement.lost.then(() => {
          if (this.#announcement === announcement) this.#announcement = undefined
        })
        if (this.#closed) await announcement.end()
      } else await this.#announcement.update(text)
      this.#published = text
      this.#decisive = decisiveOf(record)
    } finally {
      this.#writing = false
    }
  }

  #record(): ProgressRecord {
    const { authority, clock, processes } = this.#options
    const { sequence, holds, certificateLifeMs: lifeMs } = authority
    const now = clock.now()
    let count = 0
    let least = sequence
    let behind = 0
    const names: string[] = []
    const add = (name: string, trusts: number): void => {
      count += 1
      least = Math.min(least, trusts)
      if (trusts >= sequence) return
      behind += 1
      if (names.length < MOST_NAMED) names.push(name)
    }
    for (const { process, trusts } of processes()) {
      if (process === undefined) continue
      this.#away.delete(process)
      add(process, trusts)
    }
    for (const [name, { trusts, until }] of this.#away) {
      if (until <= now) this.#away.delete(name)
      else add(`${name} (away)`, trusts)
    }
    return { sequence, least, processes: count, behind, names, settled: now >= this.#settledAt, holds, lifeMs }
  }
}

/** What may let a stage end. */
function decisiveOf({ sequence, least, settled, holds, lifeMs }: ProgressRecord): string {
  return JSON.stringify([sequence, least, settled, holds, lifeMs])
}
