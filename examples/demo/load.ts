/**
 * Open-loop load: requests leave by the schedule whether or not earlier ones have come back, and
 * latency counts from the scheduled instant, so that a stall is seen as long as it was.
 */
import { type HttpClient, isMeshError } from 'inmesh'

export interface Tally {
  requests: number
  failed: number
  readonly latenciesMs: number[]
  /** Answers by the inventory instance that gave them. */
  readonly shares: Map<string, number>
  readonly failures: Map<string, number>
}

export function newTally(): Tally {
  return { requests: 0, failed: 0, latenciesMs: [], shares: new Map(), failures: new Map() }
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const value = sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)]
  return value === undefined ? 0 : Math.round(value * 10) / 10
}

const TICK_MS = 5

export class Load {
  readonly #client: HttpClient
  readonly #perSecond: number
  #tally: Tally = newTally()
  #timer: NodeJS.Timeout | undefined
  #startedAt = 0
  #sent = 0
  readonly #running = new Set<Promise<void>>()

  constructor(client: HttpClient, perSecond: number) {
    this.#client = client
    this.#perSecond = perSecond
  }

  start(): void {
    this.#startedAt = performance.now()
    this.#timer = setInterval(() => this.#sendDue(), TICK_MS)
  }

  /** From here on, requests count for `tally`, the one to which they were sent. */
  countFor(tally: Tally): void {
    this.#tally = tally
  }

  /** Waits for what is on its way. */
  async settled(): Promise<void> {
    await Promise.all(this.#running)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.settled()
  }

  #sendDue(): void {
    const due = Math.floor(((performance.now() - this.#startedAt) / 1000) * this.#perSecond)
    for (; this.#sent < due; this.#sent++) {
      const scheduledAt = this.#startedAt + ((this.#sent + 1) / this.#perSecond) * 1000
      const request = this.#send(this.#tally, scheduledAt, `/sku-${this.#sent % 1000}`)
      this.#running.add(request)
      void request.finally(() => this.#running.delete(request))
    }
  }

  async #send(tally: Tally, scheduledAt: number, path: string): Promise<void> {
    tally.requests += 1
    let failure: string | undefined
    try {
      const response = await this.#client.get(path)
      if (response.ok) {
        const { inventory } = await response.json<{ inventory: string }>()
        tally.shares.set(inventory, (tally.shares.get(inventory) ?? 0) + 1)
      } else {
        failure = `${response.status} ${(await response.text()).slice(0, 200)}`
      }
    } catch (error) {
      failure = isMeshError(error) ? `${error.code}: ${error.message}` : String(error)
    }
    tally.latenciesMs.push(performance.now() - scheduledAt)
    if (failure !== undefined) {
      tally.failed += 1
      tally.failures.set(failure, (tally.failures.get(failure) ?? 0) + 1)
    }
  }
}
