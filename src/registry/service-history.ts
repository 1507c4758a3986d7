/** The last changes of every service, in memory, so that a returning watcher is sent what it missed and not everything. */
import type { ServiceChange } from './state.ts'

/** Changes kept, of all services together (control-plane 6.1). */
const MOST_CHANGES = 10_000

interface History {
  /** Everything after this revision is in `changes`. */
  floor: number
  changes: ServiceChange[]
}

export class ServiceHistory {
  readonly #most: number
  readonly #oldest: number
  readonly #services = new Map<string, History>()
  /** The services of all changes kept, oldest first; before `#head` they are dropped. */
  #order: string[] = []
  #head = 0

  /** `oldest`: nothing is known about what was at or before this revision. */
  constructor(oldest: number, most: number = MOST_CHANGES) {
    this.#oldest = oldest
    this.#most = most
  }

  keep(change: ServiceChange): void {
    let history = this.#services.get(change.service)
    if (history === undefined) {
      history = { floor: this.#oldest, changes: [] }
      this.#services.set(change.service, history)
    }
    history.changes.push(change)
    this.#order.push(change.service)
    if (this.#order.length - this.#head > this.#most) this.#dropOldest()
  }

  /** What changed after `revision`, or `undefined` if that is no longer known. */
  since(service: string, revision: number): readonly ServiceChange[] | undefined {
    const history = this.#services.get(service)
    if (history === undefined) return revision >= this.#oldest ? [] : undefined
    if (revision < history.floor) return undefined
    return history.changes.filter((change) => change.revision > revision)
  }

  /** All that is kept of a service. */
  recent(service: string): readonly ServiceChange[] {
    return this.#services.get(service)?.changes ?? []
  }

  #dropOldest(): void {
    const history = this.#services.get(this.#order[this.#head]!)!
    history.floor = history.changes.shift()!.revision
    this.#head += 1
    if (this.#head < this.#most) return
    this.#order = this.#order.slice(this.#head)
    this.#head = 0
  }
}
