/**
 * 300 requests a second of 60 users, by the schedule whether or not earlier ones have come back.
 * Half of them read items, a quarter quotes, a quarter the rest: one kind for each route.
 */
import type { HttpClient } from 'inmesh'

export const USERS = 60
export const PER_SECOND = 300
const TICK_MS = 5
const KINDS = ['items', 'quotes', 'items', 'rest'] as const

export type Kind = (typeof KINDS)[number]
export type Side = 'blue' | 'green'

/** What one scene has seen. */
export class Tally {
  requests = 0
  readonly failures: string[] = []
  readonly latenciesMs: number[] = []
  readonly answers: Record<Kind, Record<Side, number>> = {
    items: { blue: 0, green: 0 },
    quotes: { blue: 0, green: 0 },
    rest: { blue: 0, green: 0 },
  }
  /** Where each user's items came from. */
  readonly sides = new Map<number, Set<Side>>()

  answered(kind: Kind, user: number, side: Side): void {
    this.answers[kind][side] += 1
    if (kind !== 'items') return
    const sides = this.sides.get(user) ?? new Set()
    this.sides.set(user, sides.add(side))
  }

  /** Users who saw only this side. */
  usersOn(side: Side): number[] {
    return [...this.sides].filter(([, sides]) => sides.size === 1 && sides.has(side)).map(([user]) => user)
  }

  /** Users who saw both. */
  get torn(): number {
    return [...this.sides.values()].filter(({ size }) => size > 1).length
  }

  /** In whole percent. */
  shareOf(kind: Kind, side: Side): number {
    const { blue, green } = this.answers[kind]
    return Math.round((100 * this.answers[kind][side]) / Math.max(1, blue + green))
  }

  get p99Ms(): number {
    const sorted = [...this.latenciesMs].sort((a, b) => a - b)
    return Math.round(sorted[Math.floor(sorted.length * 0.99)] ?? 0)
  }
}

export class Traffic {
  readonly #inventory: HttpClient
  readonly #running = new Set<Promise<void>>()
  readonly #startedAt = performance.now()
  readonly #timer = setInterval(() => this.#sendDue(), TICK_MS)
  #tally = new Tally()
  #sent = 0

  constructor(inventory: HttpClient) {
    this.#inventory = inventory
  }

  /** From here on, requests count for `tally`. Those on their way count where they were sent. */
  countFor(tally: Tally): void {
    this.#tally = tally
  }

  async settled(): Promise<void> {
    await Promise.all(this.#running)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.settled()
  }

  #sendDue(): void {
    const due = Math.floor(((performance.now() - this.#startedAt) / 1000) * PER_SECOND)
    for (; this.#sent < due; this.#sent++) {
      const request = this.#send(this.#tally, this.#sent)
      this.#running.add(request)
      void request.finally(() => this.#running.delete(request))
    }
  }

  async #send(tally: Tally, number: number): Promise<void> {
    const kind = KINDS[number % KINDS.length]!
    const user = Math.floor(number / 2) % USERS
    const scheduledAt = this.#startedAt + (number / PER_SECOND) * 1000
    tally.requests += 1
    try {
      const response = await this.#inventory.get(`/${kind}/${number % 100}`, { headers: { 'x-user': `user-${user}` } })
      if (!response.ok) throw new Error(`status ${response.status}`)
      const { version } = await response.json<{ version: string }>()
      tally.answered(kind, user, version === 'v2' ? 'green' : 'blue')
    } catch (error) {
      tally.failures.push(`/${kind}: ${error instanceof Error ? error.message : String(error)}`)
    }
    tally.latenciesMs.push(performance.now() - scheduledAt)
  }
}
