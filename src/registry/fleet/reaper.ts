/**
 * One elected registry counts the leases of those that are gone: their processes come back to
 * another registry, or expire here. A reaper that dies is followed by another, which adopts all
 * that hold instances and are not announced.
 */
import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../log.ts'
import { holderOf } from '../records.ts'
import type { Registrar } from '../registrar.ts'
import type { RegistryState } from '../state.ts'
import { Candidate } from './candidate.ts'

const ELECTION = 'reaper'

export class Reaper {
  readonly #state: RegistryState
  readonly #registrar: Registrar
  readonly #log: Logger
  readonly #id: string
  readonly #candidate: Candidate
  readonly #stopListening: () => void
  #adopted: ReadonlySet<string> = new Set()
  /** Announced at the last look. */
  #announced = ''

  constructor(parts: { state: RegistryState; registrar: Registrar; clock: Clock; log: Logger; id: string }) {
    const { state, registrar, clock, log, id } = parts
    this.#id = id
    this.#state = state
    this.#registrar = registrar
    this.#log = log
    this.#stopListening = state.fleet.onChange((kind) => {
      if (kind === 'registry' && this.#ids() !== this.#announced) this.#look()
    })
    this.#candidate = new Candidate(state, ELECTION, clock, {
      elected: () => this.#look(),
      deposed: () => this.#look(),
      failed: (error) => log.error({ reason: (error as Error).message }, 'not elected as reaper'),
    })
  }

  get leads(): boolean {
    return this.#candidate.leads
  }

  close(): void {
    this.#stopListening()
    this.#candidate.close()
  }

  /** The registries that hold instances. */
  #holders(): Set<string> {
    const holders = new Set<string>()
    for (const { instances } of this.#state.services.values()) {
      for (const record of instances.values()) holders.add(holderOf(record))
    }
    holders.delete(this.#id)
    return holders
  }

  #ids(): string {
    return [...this.#state.fleet.registries.keys()].sort().join()
  }

  #look(): void {
    this.#announced = this.#ids()
    if (!this.#candidate.leads) {
      if (this.#adopted.size > 0) this.#registrar.adopt(() => false)
      this.#adopted = new Set()
      return
    }
    const { registries } = this.#state.fleet
    const gone = [...this.#holders()].filter((id) => !registries.has(id))
    const adopted = gone.filter((id) => !this.#adopted.has(id))
    if (adopted.length > 0) this.#log.warn({ registries: adopted }, 'adopts the leases of registries that are gone')
    this.#adopted = new Set(gone)
    // By what is announced then: one that is gone may have written after this look.
    this.#registrar.adopt((id) => !registries.has(id))
  }
}
