/** Who changed what, and who was refused and why: kept in the store, bounded, and told to the log. Never holds a secret. */
import type { Clock } from '../core/clock.ts'
import type { Logger } from './log.ts'
import { RateLimit } from './rate-limit.ts'
import { type AuditRecord, KEYS } from './records.ts'
import { AUDIT_KEPT, type RegistryState } from './state.ts'
import type { Operation } from './storage.ts'

/** Refusals kept per second and in a burst: a stranger must not be able to fill the disk or push out what matters. */
const REFUSALS_PER_SECOND = 10
const REFUSALS_BURST = 200
const LONGEST_DETAIL = 300

export type AuditEntry = Omit<AuditRecord, 'id' | 'at'>

export class Audit {
  /** Refusals that were counted but not kept. */
  suppressed = 0
  readonly #state: RegistryState
  readonly #clock: Clock
  readonly #log: Logger
  readonly #refusals: RateLimit
  #sequence = 0

  constructor(state: RegistryState, clock: Clock, log: Logger) {
    this.#state = state
    this.#clock = clock
    this.#log = log
    this.#refusals = new RateLimit(REFUSALS_PER_SECOND, REFUSALS_BURST, clock)
  }

  /** What to write, in the transaction of the change itself. */
  operations(entry: AuditEntry): Operation[] {
    const at = this.#clock.wallNow()
    this.#sequence = (this.#sequence + 1) % 1_000_000
    const id = `${String(at).padStart(14, '0')}-${String(this.#sequence).padStart(6, '0')}`
    const { detail, ...rest } = entry
    const record: AuditRecord = {
      id,
      at,
      ...rest,
      ...(detail === undefined ? {} : { detail: detail.slice(0, LONGEST_DETAIL) }),
    }
    this.#log[entry.outcome === 'refused' ? 'warn' : 'info']({ audit: record }, `${entry.action} ${entry.outcome}`)
    const operations: Operation[] = [{ key: KEYS.audit(id), value: JSON.stringify(record) }]
    const excess = this.#state.auditSize + 1 - AUDIT_KEPT
    if (excess > 0) {
      for (const key of [...this.#state.auditKeys].slice(0, Math.min(excess, 50))) {
        operations.push({ key: KEYS.audit(key), value: undefined })
      }
    }
    return operations
  }

  /** Writes by itself; a store that cannot be written is logged, and no reason to fail what happened. */
  record(entry: AuditEntry): void {
    if (entry.outcome === 'refused' && !this.#refusals.take()) {
      this.suppressed += 1
      return
    }
    this.#state
      .write(this.operations(entry))
      .catch((error: Error) => this.#log.error({ reason: error.message }, 'audit not written'))
  }
}
