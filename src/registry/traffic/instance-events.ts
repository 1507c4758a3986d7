/** When instances came, began to drain and went, for the last hour. */
import type { RegistryState } from '../state.ts'
import { KEPT_MS } from './slots.ts'

const MOST = 2_000

export interface InstanceEvent {
  /** Wall clock, ms. */
  readonly at: number
  readonly service: string
  readonly id: string
  /** `left`: it said so; `lost`: its lease ended. */
  readonly what: 'registered' | 'draining' | 'ready' | 'left' | 'lost'
}

export class InstanceEvents {
  readonly #wallNow: () => number
  readonly #events: InstanceEvent[] = []
  /** By service and id, the state in which an instance is listed. */
  readonly #listed = new Map<string, string>()
  readonly #stop: () => void

  constructor(state: RegistryState, wallNow: () => number) {
    this.#wallNow = wallNow
    for (const { name, instances } of state.services.values()) {
      for (const { instance } of instances.values()) this.#listed.set(`${name}/${instance.id}`, instance.state)
    }
    this.#stop = state.onChange(({ service, put, gone }) => {
      for (const { id, state: now } of put) this.#put(service, id, now)
      for (const { id, why } of gone) {
        if (this.#listed.delete(`${service}/${id}`)) this.#add(service, id, why)
      }
    })
  }

  /** Oldest first. */
  since(at: number): readonly InstanceEvent[] {
    return this.#events.filter((event) => event.at >= at)
  }

  close(): void {
    this.#stop()
  }

  #put(service: string, id: string, now: 'ready' | 'draining'): void {
    const key = `${service}/${id}`
    const before = this.#listed.get(key)
    if (before === now) return
    this.#listed.set(key, now)
    this.#add(service, id, before === undefined && now === 'ready' ? 'registered' : now)
  }

  #add(service: string, id: string, what: InstanceEvent['what']): void {
    const at = this.#wallNow()
    this.#events.push({ at, service, id, what })
    while (this.#events.length > MOST || this.#events[0]!.at < at - KEPT_MS) this.#events.shift()
  }
}
