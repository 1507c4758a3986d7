/**
 * The other services to which the routes of one service lead. Each is watched while a route names
 * it, so that a change of weights finds its endpoints known.
 */
import type { EndpointOwner, HeldOwner, HoldOwner } from './endpoint-owner.ts'

interface Held {
  readonly owner: EndpointOwner
  release(): void
}

export class HeldServices {
  readonly #hold: HoldOwner
  /** A policy of one of them has changed. */
  readonly #onConfigured: () => void
  /** The endpoints of one of them may have changed. */
  readonly #onEndpoints: () => void
  readonly #held = new Map<string, Held>()
  /** Counts services that could not be watched. */
  missed = 0

  constructor(hold: HoldOwner, onConfigured: () => void, onEndpoints: () => void) {
    this.#hold = hold
    this.#onConfigured = onConfigured
    this.#onEndpoints = onEndpoints
  }

  /** Whether one of them has endpoints. */
  get ready(): boolean {
    for (const { owner } of this.#held.values()) if (owner.cluster.endpoints.length > 0) return true
    return false
  }

  /** `undefined` while it cannot be watched: this process watches as many as it can. */
  owner(service: string): EndpointOwner | undefined {
    return (this.#held.get(service) ?? this.#take(service))?.owner
  }

  /** Watches `named` and releases all others. */
  keep(named: ReadonlySet<string>): void {
    for (const service of named) this.owner(service)
    for (const [service, held] of this.#held) {
      if (named.has(service)) continue
      this.#held.delete(service)
      held.release()
    }
  }

  close(): void {
    this.keep(new Set())
  }

  #take(service: string): Held | undefined {
    let given: HeldOwner | undefined
    try {
      given = this.#hold(service)
    } catch {
      // Too many, or closed. The next call looks again.
      this.missed += 1
      return undefined
    }
    if (given === undefined) {
      this.missed += 1
      return undefined
    }
    const { owner } = given
    const leave = [owner.onConfigured(this.#onConfigured), owner.cluster.onChange(this.#onEndpoints), given.release]
    const held: Held = { owner, release: () => leave.forEach((stop) => void stop()) }
    this.#held.set(service, held)
    return held
  }
}
