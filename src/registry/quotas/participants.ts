/**
 * The processes of one service that take part in its global rate limit. One whose session has ended
 * without a word may still use its share: it keeps it until its lease has ended, or its instances
 * are elsewhere.
 */
import type { Demand, QuotaLease } from '../../resilience/limits/global-rate-limit.ts'
import type { Asking, Grant } from './share-out.ts'

/** Changes of a share that are not worth a message. */
const CHANGE = 0.02

/** The session of a process, as its share needs it. */
export interface QuotaSession {
  /** `undefined`: it did not say. */
  readonly process: string | undefined
  /** Ids of the instances that it has registered. */
  readonly instances: ReadonlySet<string>
  quota(lease: QuotaLease): void
}

interface Granted {
  readonly grant: Grant
  /** The rate that it is a share of. */
  readonly ratePerSecond: number
  readonly at: number
}

interface Participant {
  perSecond: ReadonlyMap<string, number>
  granted: Granted | undefined
}

interface Departed {
  readonly instances: ReadonlySet<string>
  readonly perSecond: ReadonlyMap<string, number>
  /** On the monotonic clock. */
  readonly until: number
}

export class Participants {
  readonly #leaseMs: number
  readonly #sessions = new Map<QuotaSession, Participant>()
  readonly #departed = new Set<Departed & { readonly process: string | undefined }>()

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs
  }

  get isEmpty(): boolean {
    return this.#sessions.size === 0 && this.#departed.size === 0
  }

  tell(session: QuotaSession, demand: Demand): void {
    const perSecond = new Map(demand)
    const known = this.#sessions.get(session)
    if (known !== undefined) {
      known.perSecond = perSecond
      return
    }
    this.#sessions.set(session, { perSecond, granted: undefined })
    for (const one of this.#departed) {
      if (one.process !== undefined && one.process === session.process) this.#departed.delete(one)
    }
  }

  /** The session has ended. */
  leave(session: QuotaSession): void {
    const participant = this.#sessions.get(session)
    this.#sessions.delete(session)
    const { granted } = participant ?? {}
    if (granted === undefined || session.instances.size === 0) return
    const { share, callers } = granted.grant
    this.#departed.add({
      process: session.process,
      instances: new Set(session.instances),
      perSecond: new Map(callers ?? [['*', share]]),
      until: granted.at + this.#leaseMs,
    })
  }

  /** `isHeld`: whether an instance is listed, and by this registry. */
  forget(now: number, isHeld: (id: string) => boolean): void {
    for (const one of this.#departed) {
      if (now >= one.until || ![...one.instances].some(isHeld)) this.#departed.delete(one)
    }
  }

  /** Those that serve, in an order that {@link grant} knows. */
  asking(): readonly (Asking & { readonly instances: ReadonlySet<string> })[] {
    const live = this.#serving().map(([{ instances }, { perSecond }]) => ({ processes: 1, perSecond, instances }))
    const departed = [...this.#departed].map(({ perSecond, instances }) => ({ processes: 1, perSecond, instances }))
    return [...live, ...departed]
  }

  /** Leases each its share, unless it has nearly the same for long enough. */
  grant(grants: readonly Grant[], ratePerSecond: number, now: number): void {
    for (const [i, [session, participant]] of this.#serving().entries()) {
      const grant = grants[i]!
      const { granted } = participant
      const renewAt = (granted?.at ?? Number.NEGATIVE_INFINITY) + this.#leaseMs / 3
      const same = granted?.ratePerSecond === ratePerSecond && isNear(granted.grant, grant)
      if (same && now < renewAt) continue
      participant.granted = { grant, ratePerSecond, at: now }
      const { share, callers } = grant
      const leaseMs = Math.round(this.#leaseMs)
      session.quota({
        leaseMs,
        ratePerSecond,
        byCaller: callers !== undefined,
        share,
        callers: new Map(callers),
      })
    }
  }

  #serving(): [QuotaSession, Participant][] {
    return [...this.#sessions].filter(([{ instances }]) => instances.size > 0)
  }
}

function isNear(before: Grant, after: Grant): boolean {
  const near = (a: number, b: number): boolean => Math.abs(a - b) <= CHANGE * Math.max(a, b)
  if (!near(before.share, after.share) || before.callers?.length !== after.callers?.length) return false
  if (before.callers === undefined) return true
  const shares = new Map(before.callers)
  return after.callers!.every(([caller, share]) => {
    const known = shares.get(caller)
    return known !== undefined && near(known, share)
  })
}
