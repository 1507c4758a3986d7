/** The sessions that own instances, without those that have ended. */
import type { Instance } from '../discovery/instance.ts'
import type { RemovalReason } from './leases.ts'
import { KEYS } from './records.ts'

/** The session that registered an instance last. It alone keeps the instance listed. */
export interface InstanceOwner {
  /** The registry removed the instance, which the process did not ask for. */
  unlisted(instance: Instance, why: RemovalReason): void
  /**
   * It is not this session's any more. `moved`: another session has registered the same instance,
   * here or at another registry.
   */
  disowned(id: string, moved: boolean): void
}

interface Owned {
  readonly owner: InstanceOwner
  /** As its process registered it last. */
  instance: Instance
}

export class InstanceOwners {
  readonly #owned = new Map<string, Owned>()

  /** `owner: undefined` keeps the present owner. */
  register(instance: Instance, owner: InstanceOwner | undefined): void {
    const key = KEYS.instance(instance.service, instance.id)
    const before = this.#owned.get(key)
    if (owner === undefined || before?.owner === owner) {
      if (before !== undefined) before.instance = instance
      return
    }
    before?.owner.disowned(instance.id, true)
    this.#owned.set(key, { owner, instance })
  }

  /** The instance belongs to no session here any more. `moved`: to one at another registry. */
  disown(service: string, id: string, moved = false): void {
    const key = KEYS.instance(service, id)
    const owned = this.#owned.get(key)
    this.#owned.delete(key)
    owned?.owner.disowned(id, moved)
  }

  /** The session has ended. */
  abandon(service: string, ids: Iterable<string>, owner: InstanceOwner): void {
    for (const id of ids) {
      const key = KEYS.instance(service, id)
      if (this.#owned.get(key)?.owner === owner) this.#owned.delete(key)
    }
  }

  /** The registry removed the instance; its process may list it again. */
  unlist(service: string, id: string, why: RemovalReason): void {
    const owned = this.#owned.get(KEYS.instance(service, id))
    owned?.owner.unlisted(owned.instance, why)
  }
}
