/**
 * Freezes and releases the expiry of a service at all registries on the store: a record says that
 * it is frozen. The registry that sees the reason first writes the record or deletes it; all follow
 * the record.
 */
import type { Clock } from '../../core/clock.ts'
import type { Audit, AuditEntry } from '../access/audit.ts'
import type { Leases, Release } from '../leases.ts'
import type { Logger } from '../log.ts'
import { KEYS } from '../records.ts'
import type { RegistryState } from '../state.ts'
import type { WatchHub } from '../watch/hub.ts'
import type { FreezeRecord } from './fleet-records.ts'
import { silentElsewhere } from './silence.ts'

interface FreezesHost {
  readonly state: RegistryState
  readonly hub: WatchHub
  readonly audit: Audit
  readonly clock: Clock
  readonly log: Logger
  readonly leases: Leases
  readonly id: string
}

export class Freezes {
  readonly #host: FreezesHost
  readonly #stopListening: () => void

  constructor(host: FreezesHost) {
    this.#host = host
    const { fleet } = host.state
    for (const service of fleet.freezes.keys()) this.#follow(service)
    this.#stopListening = fleet.onChange((kind, service) => {
      if (kind === 'freeze') this.#follow(service)
    })
  }

  /** Our leases froze the service. */
  freeze(service: string, stopped: number, total: number): void {
    const { state, audit, clock, leases, log, id } = this.#host
    const record: FreezeRecord = { at: clock.wallNow(), by: id }
    const detail = `${stopped} of ${total} instances stopped renewing together; none is expired`
    const key = KEYS.freeze(service)
    state
      .write(
        [{ key, value: JSON.stringify(record) }, ...audit.operations(entryOf(service, 'expiry-freeze', detail))],
        [{ key, revision: 0 }],
      )
      .then(
        ({ ok }) => {
          // Not ok: another registry was first, and its record may be gone again by now.
          if (!ok) this.#follow(service)
        },
        (error: Error) => {
          log.error({ service, reason: error.message }, 'freeze not written')
          // The next sweep decides anew.
          leases.unfreeze(service)
        },
      )
  }

  /** Our leases ended the freeze. */
  release(service: string, why: Release): void {
    const { leases, log } = this.#host
    this.#delete(service, entryOf(service, 'expiry-release', RELEASED[why])).then(
      (deleted) => {
        if (!deleted) this.#follow(service)
      },
      (error: Error) => {
        log.error({ service, reason: error.message }, 'end of a freeze not written')
        // Others hold on to it, and so do we until it can be written.
        leases.freeze(service)
      },
    )
  }

  /**
   * An operator ends the freeze, at all registries. Returns how many instances expire, or
   * `undefined` if there is no freeze. `entry`: who wants it.
   */
  async releaseByOperator(service: string, entry: (expired: number) => AuditEntry): Promise<number | undefined> {
    const { state, leases, id } = this.#host
    for (let i = 0; i < MOST_CONFLICTS && state.fleet.freezes.has(service); i++) {
      const expired = leases.lapsed(service) + silentElsewhere(state.fleet.silent, id, service)
      const released = entryOf(service, 'expiry-release', RELEASED.operator)
      if (await this.#delete(service, released, entry(expired))) return expired
    }
    return undefined
  }

  close(): void {
    this.#stopListening()
  }

  async #delete(service: string, ...entries: AuditEntry[]): Promise<boolean> {
    const { state, audit } = this.#host
    const key = KEYS.freeze(service)
    const operations = entries.flatMap((entry) => audit.operations(entry))
    const revision = state.revisionOf(key)
    if (revision === 0) return false
    return (await state.write([{ key, value: undefined }, ...operations], [{ key, revision }])).ok
  }

  #follow(service: string): void {
    const { state, hub, leases } = this.#host
    const frozen = state.fleet.freezes.has(service)
    hub.setFrozen(service, frozen)
    if (frozen) leases.freeze(service)
    else leases.thaw(service)
  }
}

/** Writes of other registries in between, in a row. */
const MOST_CONFLICTS = 20

const RELEASED: Readonly<Record<Release, string>> = {
  renewed: 'renewals are back',
  'too-long': 'frozen for 30 min',
  operator: 'an operator said so',
}

function entryOf(service: string, action: string, detail: string): AuditEntry {
  return { who: 'registry', source: 'local', action, outcome: 'done', service, detail }
}
