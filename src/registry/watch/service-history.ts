/**
 * Recent changes of every service, in memory. A returning watcher gets the changes it missed.
 */
import type { ServiceChange } from '../state.ts'

/** Changes kept, of all services together. */
const MOST_CHANGES = 10_000

interface History {
  /** Everything after this revision is in `changes`. */
  floor: number
  changes: ServiceChange[]
}

export class ServiceHistory {
  readonly #most: number
  #oldest: number
  /** By service: the revision at which it was forgotten. */
  readonly #forgotten = new Map<string, number>()
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
      history = { floor: Math.max(this.#oldest, this.#forgotten.get(change.service) ?? 0), changes: [] }
      this.#forgotten.delete(change.service)
      this.#services.set(change.service, history)
    }
    history.changes.push(change)
    this.#order.push(change.service)
    if (this.#order.length - this.#head > this.#most) this.#dropOldest()
  }

  /** What changed after `revision`, or `undefined` if that is no longer known. */
  since(service: string, revision: number): readonly ServiceChange[] | undefined {
    const history = this.#services.get(service)
    if (history === undefined) {
      return revision >= Math.max(this.#oldest, this.#forgotten.get(service) ?? 0) ? [] : undefined
    }
    if (revision < history.floor) return undefined
    return history.changes.filter((change) => change.revision > revision)
  }

  /** The service was forgotten at this revision: what was before it is known no more. */
  forget(service: string, revision: number): void {
    this.#services.delete(service)
    this.#forgotten.delete(service)
    this.#forgotten.set(service, revision)
    if (this.#forgotten.size <= this.#most) return
    const [oldest, at] = this.#forgotten.entries().next().value!
    this.#forgotten.delete(oldest)
    this.#oldest = Math.max(this.#oldest, at)
  }

  /** All that is kept of a service. */
  recent(service: string): readonly ServiceChange[] {
    return this.#services.get(service)?.changes ?? []
  }

  #dropOldest(): void {
    // `undefined`: the service was forgotten since.
    const history = this.#services.get(this.#order[this.#head]!)
    const dropped = history?.changes.shift()
    if (dropped !== undefined) history!.floor = dropped.revision
    this.#head += 1
    if (this.#head < this.#most) return
    this.#order = this.#order.slice(this.#head)
    this.#head = 0
  }
}
