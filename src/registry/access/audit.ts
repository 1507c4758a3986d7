/**
 * The audit log: who changed what, and who was refused and why. Bounded, in the store and in the
 * log, without secrets.
 */
import type { Clock } from '../../core/clock.ts'
import { maskTokens } from '../../telemetry/redact.ts'
import { sourceGroup } from '../address-policy.ts'
import type { Logger } from '../log.ts'
import { type AuditRecord, KEYS, LOCAL_REGISTRY } from '../records.ts'
import { AUDIT_KEPT, type RegistryState } from '../state.ts'
import type { Operation } from '../storage/storage.ts'
import { RateLimit } from './rate-limit.ts'

/**
 * Refusals kept per second and in a burst, of one source without a certificate, and of all such
 * sources together.
 */
const STRANGER: readonly [number, number] = [1, 20]
const STRANGERS: readonly [number, number] = [10, 200]
/** The same of one identity, and of all identities. */
const MEMBER: readonly [number, number] = [5, 100]
const MEMBERS: readonly [number, number] = [50, 1_000]
/**
 * How much of the log each may take: what was done is pushed out only by what is done, and logging
 * in, which an operator who may only read can do, is not among it.
 */
const KEPT = { stranger: AUDIT_KEPT / 4, member: AUDIT_KEPT / 4, login: AUDIT_KEPT / 4 } as const
/** Of an operator, to the page of the mesh. */
export const LOGIN_ACTION = 'ui-login'
/** Removals in one transaction. */
const MOST_REMOVALS = 50
const LONGEST_DETAIL = 300

export type AuditEntry = Omit<AuditRecord, 'id' | 'at'>

export class Audit {
  /** Refusals that were counted but not kept. */
  suppressed = 0
  readonly #state: RegistryState
  readonly #clock: Clock
  readonly #log: Logger
  readonly #perStranger: RateLimit
  readonly #strangers: RateLimit
  readonly #perMember: RateLimit
  readonly #members: RateLimit
  /** Ends the id of each record, so that two registries never write the same one. */
  readonly #suffix: string
  #sequence = 0

  constructor(state: RegistryState, clock: Clock, log: Logger, registry: string = LOCAL_REGISTRY) {
    this.#suffix = registry === LOCAL_REGISTRY ? '' : `-${registry}`
    this.#state = state
    this.#clock = clock
    this.#log = log
    this.#perStranger = new RateLimit(...STRANGER, clock)
    this.#strangers = new RateLimit(...STRANGERS, clock)
    this.#perMember = new RateLimit(...MEMBER, clock)
    this.#members = new RateLimit(...MEMBERS, clock)
  }

  /** What to write, in the transaction of the change itself. */
  operations(entry: AuditEntry): Operation[] {
    const at = this.#clock.wallNow()
    this.#sequence = (this.#sequence + 1) % 1_000_000
    const id = `${String(at).padStart(14, '0')}-${String(this.#sequence).padStart(6, '0')}${this.#suffix}`
    const { detail, ...rest } = entry
    const record: AuditRecord = {
      id,
      at,
      ...rest,
      // Messages and paths quote what was sent.
      action: maskTokens(entry.action),
      ...(detail === undefined ? {} : { detail: maskTokens(detail.slice(0, LONGEST_DETAIL)) }),
    }
    this.#log[entry.outcome === 'refused' ? 'warn' : 'info']({ audit: record }, `${record.action} ${entry.outcome}`)
    const operations: Operation[] = [{ key: KEYS.audit(id), value: JSON.stringify(record) }]
    for (const key of this.#superfluous()) operations.push({ key: KEYS.audit(key), value: undefined })
    return operations
  }

  /**
   * Writes by itself; a store that cannot be written is logged, and no reason to fail what
   * happened.
   */
  record(entry: AuditEntry): void {
    if (entry.outcome === 'refused' && !this.admits(entry.who, entry.source)) return
    this.#state
      .write(this.operations(entry))
      .catch((error: Error) => this.#log.error({ reason: error.message }, 'audit not written'))
  }

  /**
   * Whether one more refusal of `who` is kept and logged. Each source and each identity has an
   * allowance, so that a stranger can neither fill the disk nor hide what is refused to others.
   */
  admits(who: string, source: string): boolean {
    const admitted = isStranger(who)
      ? this.#perStranger.take(sourceGroup(source)) && this.#strangers.take()
      : this.#perMember.take(who) && this.#members.take()
    if (!admitted) this.suppressed += 1
    return admitted
  }

  /** Keys of the oldest records of the kind that has more than its share. */
  #superfluous(): string[] {
    const excess = this.#state.auditSize + 1 - AUDIT_KEPT
    if (excess <= 0) return []
    const keys: Record<Kind, string[]> = { stranger: [], member: [], login: [], done: [] }
    for (const record of this.#state.audit) keys[kindOf(record)].push(record.id)
    const kind = LIMITED.find((one) => keys[one].length > KEPT[one]) ?? 'done'
    return keys[kind].slice(0, Math.min(excess, MOST_REMOVALS))
  }
}

/**
 * A refusal of somebody unknown, one of an identity or an operator, a login, or something that was
 * done.
 */
type Kind = keyof typeof KEPT | 'done'
const LIMITED = ['stranger', 'member', 'login'] as const satisfies readonly Kind[]

function kindOf({ outcome, who, action }: AuditEntry): Kind {
  if (outcome === 'done') return action === LOGIN_ACTION ? 'login' : 'done'
  return isStranger(who) ? 'stranger' : 'member'
}

function isStranger(who: string): boolean {
  return who === 'anonymous'
}
