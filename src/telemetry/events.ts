/**
 * Events of a mesh, published on the `node:diagnostics_channel` channels `inmesh:<area>:<what>`.
 * The last 200 are kept for the admin page, repetitions as one entry with a count.
 */
import { type Channel, channel } from 'node:diagnostics_channel'
import type { Clock } from '../core/clock.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { Protocol } from '../core/protocol.ts'
import { PROCESS } from './metric-definitions.ts'
import type { Counter, Family, Metrics } from './metrics.ts'
import { redactText } from './redact.ts'

/**
 * Every event and its payload. `peer` is the service on the other side, `protocol` is set unless it
 * is HTTP, `route` if the state is a route's own, `endpoint` is `address:port`.
 */
export interface MeshEvents {
  /** The circuit breaker of a called service changed its state. */
  'circuit:transition': {
    peer: string
    protocol?: Protocol
    route?: string
    from: EventCircuitState
    to: EventCircuitState
  }
  /**
   * An endpoint is ejected for `forMs`, or until health checks pass (`detail`: the last result).
   */
  'endpoint:ejected': { peer: string; endpoint: string; reason: string; forMs?: number; detail?: string }
  /** One attempt probes an ejected endpoint. */
  'endpoint:probing': { peer: string; endpoint: string }
  /** The endpoint gets calls again. */
  'endpoint:restored': { peer: string; endpoint: string }
  /** An ejected endpoint is no longer one of those that calls go to. */
  'endpoint:withdrawn': { peer: string; endpoint: string }
  /** Too few endpoints are healthy, so all are used (`on`), or enough are healthy again (`off`). */
  'cluster:panic': { peer: string; protocol?: Protocol; on: boolean; healthy: number; endpoints: number }
  /** The budget did not pay for a retry. */
  'retry:budget-exhausted': { peer: string; protocol?: Protocol; route?: string }
  /**
   * A hedge was started beside a late attempt (`sent`), answered first (`won`), or was due but not
   * paid for (`unpaid`).
   */
  'hedge:changed': { peer: string; protocol?: Protocol; route?: string; what: 'sent' | 'won' | 'unpaid' }
  /**
   * The peer rejects most attempts as overload, so the client throttles (`on`), or no longer does
   * (`off`).
   */
  'throttle:changed': { peer: string; protocol?: Protocol; route?: string; on: boolean; share: number }
  /**
   * A peer was not let in: its certificate was rejected, or it has none, or it speaks `plaintext`
   * to a strict port; `ours`: it rejected our certificate.
   */
  'peer:refused': { side: 'client' | 'server'; reason: string; ours?: true; peer?: string; address?: string }
  /** Audit: no intention allows this call. */
  'intention:denied': { peer: string; method: string; path: string; reason?: string }
  /**
   * Overrides of a request count for nothing: those that `peer` sent or introduced, all of them or
   * those for `target`.
   */
  'override:refused': { peer?: string; target?: string; reason: string }
  'snapshot:applied': { subject: string; revision: number; stale?: boolean }
  /** The last valid snapshot stays in force. */
  'snapshot:rejected': { subject: string; reason: string; revision?: number }
  'registry:connected': { address: string }
  'registry:lost': { address: string; reason: string }
  /** No session could be opened there; once for each reason until one is established. */
  'registry:unreachable': { address: string; reason: string }
  /** The registry removed one of our instances: `expired`, `released`, `replaced` or `refused`. */
  'instance:unlisted': { endpoint: string; reason: string }
  /**
   * `rejoined`: by joining again; the last certificate had expired, or its registry was replaced.
   */
  'identity:renewed': { spiffeId: string; notAfter: number; generation: number; rejoined?: true }
  'identity:failed': { reason: string; notAfter?: number }
  /** Renewal is overdue: the certificate expires at `notAfter`. */
  'identity:expiring': { spiffeId: string; notAfter: number }
  /** The certificate has expired; this process keeps trying to join again. */
  'identity:expired': { spiffeId: string; notAfter: number }
  'drain:step': { step: string; running?: number }
  /** An adaptive concurrency limit changed by a fifth or more since the last such event. */
  'limit:changed': { side: 'client' | 'server'; limit: number; before: number }
  /**
   * The registry leases shares of the global rate limit; or the last lease has ended, and each
   * instance takes an equal share.
   */
  'quota:changed': { leased: boolean }
  /** `rules`: how many rules of the document now inject faults into our servers; 0 = none. */
  'fault:changed': { rules: number }
  /** A request was delayed or failed by fault injection; status 0: only delayed. */
  'fault:injected': { peer?: string; delayMs: number; status: number }
  /**
   * An operator, `by`, watches single calls to `peer` in this process, for `forMs` at most;
   * `filter`: which of them, and which headers are shown.
   */
  'tap:began': { tap: string; peer: string; by?: string; filter: string; forMs: number }
  /** `shown`: calls that were sent to the registry; `left`: others that matched. */
  'tap:ended': { tap: string; peer: string; by?: string; shown: number; left: number }
  /** A TCP server could not connect to its target, so it admitted no connection. */
  'target:unreachable': { target: string; reason: string }
  /** A server or a limiter refused a request. */
  'admission:refused': { side: 'client' | 'server'; code: ErrorCode; peer?: string; limit?: number }
}

export type EventCircuitState = 'closed' | 'open' | 'half-open'
export type EventName = keyof MeshEvents

/** The message that a subscriber of a channel receives. */
export type EventMessage<K extends EventName> = MeshEvents[K] & {
  /** Our own service: several meshes may live in one process. */
  readonly service: string
  /** Wall clock, ms since 1970. */
  readonly at: number
}

/** One entry of the list of recent events. */
export interface EventRecord {
  readonly name: EventName
  readonly at: number
  /** How many more with the same cause followed within a second. */
  readonly repeated: number
  readonly payload: Readonly<Record<string, string | number | boolean>>
}

/** All names, in the order of the documentation. */
export const EVENT_NAMES: readonly EventName[] = Object.freeze([
  'circuit:transition',
  'endpoint:ejected',
  'endpoint:probing',
  'endpoint:restored',
  'endpoint:withdrawn',
  'cluster:panic',
  'retry:budget-exhausted',
  'hedge:changed',
  'throttle:changed',
  'peer:refused',
  'intention:denied',
  'override:refused',
  'snapshot:applied',
  'snapshot:rejected',
  'registry:connected',
  'registry:lost',
  'registry:unreachable',
  'instance:unlisted',
  'identity:renewed',
  'identity:failed',
  'identity:expiring',
  'identity:expired',
  'drain:step',
  'limit:changed',
  'quota:changed',
  'fault:changed',
  'fault:injected',
  'tap:began',
  'tap:ended',
  'target:unreachable',
  'admission:refused',
])

const KEPT = 200
const REPEAT_MS = 1_000
/** Causes remembered to detect repetitions; beyond it the oldest are dropped. */
const MOST_CAUSES = 512
const LONGEST_TEXT = 256

/** Receives the events of the parts of a mesh. */
export interface EventSink {
  emit<K extends EventName>(name: K, payload: MeshEvents[K]): void
}

/** Ignores every event. */
export const NO_EVENTS: EventSink = Object.freeze({ emit() {} })

type Kept = { -readonly [K in keyof EventRecord]: EventRecord[K] }

export class Events implements EventSink {
  readonly #service: string
  readonly #clock: Clock
  readonly #counted: Family<Counter> | undefined
  readonly #channels = new Map<EventName, Channel>()
  readonly #counters = new Map<EventName, Counter>()
  readonly #ring: Kept[] = []
  #next = 0
  readonly #causes = new Map<string, { record: Kept; since: number }>()

  /** With `metrics`, every event is counted in `inmesh_events_total`. */
  constructor(service: string, clock: Clock, metrics?: Metrics) {
    this.#service = service
    this.#clock = clock
    this.#counted = metrics?.counter(PROCESS.events)
    for (const name of EVENT_NAMES) this.#channels.set(name, channel(`inmesh:${name}`))
  }

  /**
   * Counts, publishes and keeps one event. Node reports what a subscriber throws; it never reaches
   * the caller.
   */
  emit<K extends EventName>(name: K, payload: MeshEvents[K]): void {
    this.#count(name)
    const at = this.#clock.wallNow()
    const known = this.#channels.get(name)
    if (known?.hasSubscribers) known.publish({ ...payload, service: this.#service, at })
    this.#keep(name, payload, at)
  }

  /** The last 200, oldest first. */
  recent(): EventRecord[] {
    const ordered = [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)]
    return ordered.map((record) => ({ ...record, payload: { ...record.payload } }))
  }

  #count(name: EventName): void {
    if (this.#counted === undefined) return
    let counter = this.#counters.get(name)
    if (counter === undefined) {
      counter = this.#counted.series(this.#service, name)
      this.#counters.set(name, counter)
    }
    counter.value += 1
  }

  #keep(name: EventName, payload: object, at: number): void {
    const now = this.#clock.now()
    const cause = causeOf(name, payload)
    const same = this.#causes.get(cause)
    if (same !== undefined && now - same.since < REPEAT_MS) {
      same.record.repeated += 1
      return
    }
    const record: Kept = { name, at, repeated: 0, payload: safe(payload) }
    if (this.#ring.length < KEPT) this.#ring.push(record)
    else {
      this.#ring[this.#next] = record
      this.#next = (this.#next + 1) % KEPT
    }
    if (this.#causes.size >= MOST_CAUSES) this.#causes.clear()
    this.#causes.set(cause, { record, since: now })
    // A connection after a loss is news, however soon it comes.
    if (name === 'registry:lost') {
      const { address } = payload as MeshEvents['registry:lost']
      this.#causes.delete(causeOf('registry:connected', { address }))
    }
  }
}

/** Two events share a cause if they name the same subject; numbers and paths may differ. */
function causeOf(name: EventName, payload: object): string {
  const { subject, peer, endpoint, reason, code, to, step, on, what, address, tap } = payload as Record<string, unknown>
  // The address of a registry names its subject; a stranger's address does not.
  const registry = name.startsWith('registry:') ? address : undefined
  return [name, registry, subject, peer, endpoint, reason, code, to, step, on, what, tap]
    .join('|')
    .slice(0, LONGEST_TEXT)
}

/** Only names and numbers, truncated: a path or a reason may come from outside. */
function safe(payload: object): Record<string, string | number | boolean> {
  const kept: Record<string, string | number | boolean> = {}
  for (const [name, value] of Object.entries(payload)) {
    if (typeof value === 'string') kept[name] = redactText(value, LONGEST_TEXT)
    else if (typeof value === 'number' || typeof value === 'boolean') kept[name] = value
  }
  return kept
}

/** The channel of an event, for `subscribe()` of `node:diagnostics_channel`. */
export function channelName<K extends EventName>(name: K): `inmesh:${K}` {
  return `inmesh:${name}`
}
