/**
 * Leases of the instances whose sessions this registry holds or has adopted; heartbeats write
 * nothing. Expiry of a service freezes when many instances of all registries fall silent together,
 * which is more likely a broken network.
 *
 * States of a service's guard:
 * - open → frozen: an instance is over its lease, and those that stopped renewing together are too
 *   many
 * - frozen → open: their number was small again for two leases; or 30 min are over or an operator
 *   says so, and then all of them expire
 *
 * While the leases are suspended nothing changes its state.
 */
import type { Clock, Timer } from '../core/clock.ts'

/**
 * Expiry freezes when more than this share and more than this count expire at once. The share is
 * that of Eureka's renewal threshold of 85 %.
 */
const SHARE = 0.15
const COUNT = 2
const LONGEST_FREEZE_MS = 30 * 60_000
/** Silent for longer than this many beats counts as stopped; a lease is three. */
const STOPPED_BEATS = 1.5
/**
 * After a start, and after we stood still, each lease lasts this share longer: processes need time
 * to come back.
 */
export const GRACE_PERIOD = 0.5
/** Beats in a lease. */
export const HEARTBEATS_PER_LEASE = 3

/** `operator`: somebody who knows that they did die. */
export type Release = 'renewed' | 'too-long' | 'operator'

/**
 * Why an instance is taken off the list: its lease ended, an operator ended a freeze, or another
 * took its address.
 */
export type RemovalReason = 'expired' | 'released' | 'replaced'

/** What other registries on the store know of a service. */
export interface Census {
  /** Its instances at all registries. */
  listed(service: string): number
  /** Those that have stopped renewing at other registries. */
  silentElsewhere(service: string): number
}

export interface LeaseEvents {
  /** Over its lease and not protected: to be removed. */
  expired(service: string, ids: readonly string[], why: 'expired' | 'released'): void
  frozen(service: string, stopped: number, total: number): void
  released(service: string, why: Release): void
  /** At each sweep: how many have stopped renewing here, of the services where some have. */
  swept?(silent: ReadonlyMap<string, number>): void
}

interface Lease {
  readonly id: string
  renewedAt: number
}

interface Silent {
  /** Over their lease. */
  readonly lapsed: readonly string[]
  /** Those that have stopped renewing, with the lapsed. */
  readonly silent: number
}

interface ServiceLeases {
  readonly leases: Map<string, Lease>
  frozenAt: number | undefined
  /** Since when, while frozen, few enough are silent. */
  calmSince: number | undefined
  /** When instances expired, so that those who go one after another are counted together. */
  expiredAt: number[]
}

export class Leases {
  readonly leaseMs: number
  readonly beatMs: number
  readonly #clock: Clock
  readonly #events: LeaseEvents
  readonly #services = new Map<string, ServiceLeases>()
  readonly #census: Census | undefined
  readonly #sweepMs: number
  #timer: Timer
  #sweptAt: number
  #suspended = false

  /** `census: undefined`: there are no other registries. */
  constructor(leaseMs: number, clock: Clock, events: LeaseEvents, census?: Census) {
    this.leaseMs = leaseMs
    this.#census = census
    this.beatMs = leaseMs / HEARTBEATS_PER_LEASE
    this.#clock = clock
    this.#events = events
    this.#sweepMs = Math.min(1_000, Math.max(20, leaseMs / 15))
    this.#sweptAt = clock.now()
    this.#timer = clock.startBackgroundTimer(this.#sweepMs, () => this.#onSweep(), undefined)
  }

  /**
   * Begins or renews a lease. `graceMs` is added once, for instances that are only known from
   * before our start.
   */
  renew(service: string, id: string, graceMs = 0): void {
    const guarded = this.#leasesOf(service)
    const lease = guarded.leases.get(id)
    const renewedAt = this.#clock.now() + graceMs
    if (lease === undefined) guarded.leases.set(id, { id, renewedAt })
    else lease.renewedAt = Math.max(lease.renewedAt, renewedAt)
  }

  /** It left by itself, or was removed. */
  end(service: string, id: string): void {
    const guarded = this.#services.get(service)
    guarded?.leases.delete(id)
    if (guarded?.leases.size === 0 && guarded.frozenAt === undefined) this.#services.delete(service)
  }

  has(service: string, id: string): boolean {
    return this.#services.get(service)?.leases.has(id) === true
  }

  isFrozen(service: string): boolean {
    return this.#services.get(service)?.frozenAt !== undefined
  }

  /** Nothing expires or freezes until {@link resume}. */
  suspend(): void {
    this.#suspended = true
  }

  /** Nothing expires before one more lease is over. */
  resume(): void {
    if (!this.#suspended) return
    this.#suspended = false
    this.#renewAll(this.#clock.now())
  }

  get suspended(): boolean {
    return this.#suspended
  }

  /** Another registry froze the service. */
  freeze(service: string): void {
    const guarded = this.#leasesOf(service)
    guarded.frozenAt ??= this.#clock.now()
  }

  /** The freeze could not be written for the others; the next sweep decides anew. */
  unfreeze(service: string): void {
    const guarded = this.#services.get(service)
    if (guarded !== undefined) guarded.frozenAt = undefined
  }

  /**
   * A freeze was ended by another registry or an operator: expired leases end now, unless they are
   * suspended.
   */
  thaw(service: string): void {
    const guarded = this.#services.get(service)
    if (guarded?.frozenAt === undefined) return
    const now = this.#clock.now()
    guarded.frozenAt = undefined
    guarded.calmSince = undefined
    this.#expire(service, guarded, this.#suspended ? [] : this.#silent(guarded, now).lapsed, now, 'released')
  }

  /** A loss at another registry, counted together with ours. */
  lostElsewhere(service: string): void {
    const guarded = this.#services.get(service)
    guarded?.expiredAt.push(this.#clock.now())
  }

  /** How many are over their lease. */
  lapsed(service: string): number {
    const guarded = this.#services.get(service)
    return guarded === undefined ? 0 : this.#silent(guarded, this.#clock.now()).lapsed.length
  }

  get size(): number {
    let size = 0
    for (const guarded of this.#services.values()) size += guarded.leases.size
    return size
  }

  get frozenServices(): readonly string[] {
    return [...this.#services].filter(([, guarded]) => guarded.frozenAt !== undefined).map(([service]) => service)
  }

  /** How long nothing was heard, not counting the time in which we could not hear. */
  silentMs(since: number): number {
    return this.#clock.now() - since - this.#clock.stalledMsSince(since)
  }

  close(): void {
    this.#clock.stopTimer(this.#timer)
  }

  #leasesOf(service: string): ServiceLeases {
    let guarded = this.#services.get(service)
    if (guarded === undefined) {
      guarded = { leases: new Map(), frozenAt: undefined, calmSince: undefined, expiredAt: [] }
      this.#services.set(service, guarded)
    }
    return guarded
  }

  #onSweep(): void {
    this.#timer = this.#clock.startBackgroundTimer(this.#sweepMs, () => this.#onSweep(), undefined)
    const now = this.#clock.now()
    // The clock samples the event loop only while it is asked, and must have done so before a stall
    // to know of it. Processes take a registry that stood still for some beats for dead, and come
    // back on another connection.
    if (this.#clock.stalledMsSince(this.#sweptAt) > this.beatMs) this.#renewAll(now + GRACE_PERIOD * this.leaseMs)
    this.#sweptAt = now
    const silent = new Map<string, number>()
    for (const [service, guarded] of [...this.#services]) {
      const found = this.#silent(guarded, now)
      if (found.silent > 0) silent.set(service, found.silent)
      if (!this.#suspended) this.#sweep(service, guarded, now, found)
    }
    this.#events.swept?.(silent)
  }

  #renewAll(renewedAt: number): void {
    for (const { leases } of this.#services.values()) {
      for (const lease of leases.values()) lease.renewedAt = Math.max(lease.renewedAt, renewedAt)
    }
  }

  #sweep(service: string, guarded: ServiceLeases, now: number, { lapsed, silent }: Silent): void {
    guarded.expiredAt = guarded.expiredAt.filter((at) => now - at <= this.leaseMs)
    const elsewhere = this.#census?.silentElsewhere(service) ?? 0
    const listed = this.#census?.listed(service) ?? guarded.leases.size
    const stopped = silent + elsewhere + guarded.expiredAt.length
    const total = Math.max(listed, guarded.leases.size) + guarded.expiredAt.length
    const tooMany = stopped > COUNT && stopped > SHARE * total

    if (guarded.frozenAt === undefined) {
      if (lapsed.length === 0) return
      if (tooMany) {
        guarded.frozenAt = now
        guarded.calmSince = undefined
        this.#events.frozen(service, stopped, total)
        return
      }
    } else if (now - guarded.frozenAt >= LONGEST_FREEZE_MS) {
      this.#release(service, guarded, 'too-long')
    } else {
      guarded.calmSince = tooMany ? undefined : (guarded.calmSince ?? now)
      if (guarded.calmSince === undefined || now - guarded.calmSince < 2 * this.leaseMs) return
      this.#release(service, guarded, 'renewed')
    }
    this.#expire(service, guarded, lapsed, now, 'expired')
  }

  #silent(guarded: ServiceLeases, now: number): Silent {
    const lapsed: string[] = []
    let silent = 0
    for (const lease of guarded.leases.values()) {
      if (now - lease.renewedAt <= STOPPED_BEATS * this.beatMs) continue
      const silentMs = this.silentMs(lease.renewedAt)
      if (silentMs > STOPPED_BEATS * this.beatMs) silent += 1
      if (silentMs > this.leaseMs) lapsed.push(lease.id)
    }
    return { lapsed, silent }
  }

  #release(service: string, guarded: ServiceLeases, why: Release): void {
    guarded.frozenAt = undefined
    guarded.calmSince = undefined
    this.#events.released(service, why)
  }

  #expire(
    service: string,
    guarded: ServiceLeases,
    ids: readonly string[],
    now: number,
    why: 'expired' | 'released',
  ): void {
    for (const id of ids) {
      guarded.leases.delete(id)
      guarded.expiredAt.push(now)
    }
    if (ids.length > 0) this.#events.expired(service, ids, why)
    if (guarded.leases.size === 0) this.#services.delete(service)
  }
}
