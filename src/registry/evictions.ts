/** Removes the instances of denied identities, whichever registry holds them. */
import type { InstanceOwners } from './instance-owners.ts'
import type { Leases } from './leases.ts'
import type { Logger } from './log.ts'
import type { InstanceRecord } from './records.ts'
import type { Removals } from './removals.ts'
import type { RegistryState } from './state.ts'
import { MOST_COMPARES } from './storage/storage.ts'

interface EvictionsHost {
  readonly state: RegistryState
  readonly leases: Leases
  readonly owners: InstanceOwners
  readonly removals: Removals
  readonly log: Logger
}

export class Evictions {
  readonly #host: EvictionsHost

  constructor(host: EvictionsHost) {
    this.#host = host
  }

  /** Rejects if the store cannot be written; then their leases end them. */
  async evict(service: string, spiffeId: string): Promise<void> {
    const { state, leases, owners, removals } = this.#host
    const isTheirs = ({ owner }: InstanceRecord): boolean => owner === spiffeId
    for (;;) {
      const { instances } = state.service(service) ?? {}
      const theirs = [...(instances?.values() ?? [])].filter(isTheirs).slice(0, MOST_COMPARES)
      if (theirs.length === 0) return
      const ids = theirs.map(({ instance }) => instance.id)
      await removals.remove(service, ids, 'left', isTheirs)
      for (const id of ids) {
        leases.end(service, id)
        owners.disown(service, id)
      }
    }
  }

  /** In the background. */
  start(service: string, spiffeId: string): void {
    this.evict(service, spiffeId).catch((error: Error) =>
      this.#host.log.error({ service, spiffeId, reason: error.message }, 'instances of a denied identity not removed'),
    )
  }
}
