/**
 * Stands for election as long as it is open: a leadership that is lost, or a campaign that the
 * store refuses, is followed by another campaign.
 */
import { type Clock, sleep } from '../../core/clock.ts'
import type { RegistryState } from '../state.ts'
import type { Leadership } from '../storage/storage.ts'

const AGAIN_MS = 500

export interface CandidateEvents {
  elected(): void
  deposed(): void
  failed(error: unknown): void
}

export class Candidate {
  readonly #state: RegistryState
  readonly #name: string
  readonly #clock: Clock
  readonly #events: CandidateEvents
  /** `undefined` while another registry leads. */
  #leadership: Leadership | undefined
  #closed = false

  constructor(state: RegistryState, name: string, clock: Clock, events: CandidateEvents) {
    this.#state = state
    this.#name = name
    this.#clock = clock
    this.#events = events
    void this.#run()
  }

  get leads(): boolean {
    return this.#leadership !== undefined
  }

  close(): void {
    this.#closed = true
    const leadership = this.#leadership
    this.#leadership = undefined
    leadership?.resign().catch(this.#events.failed)
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        const leadership = await this.#state.store.campaign(this.#name)
        if (this.#closed) {
          await leadership.resign()
          return
        }
        this.#leadership = leadership
        this.#events.elected()
        await leadership.lost
        if (this.#leadership !== leadership) return
        this.#leadership = undefined
        this.#events.deposed()
      } catch (error) {
        if (this.#closed) return
        this.#events.failed(error)
      }
      // Of a store that is away, a leadership may be lost as soon as it is won.
      await sleep(this.#clock, AGAIN_MS)
    }
  }
}
