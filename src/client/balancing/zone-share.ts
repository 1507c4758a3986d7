/**
 * The share of calls that stay in the client's zone. It falls while the zone's endpoints answer
 * more slowly than the others, in proportion, and rises again once they do not.
 */
import type { Endpoint } from '../../core/endpoint.ts'
import { OVERPROVISIONING } from './level-shares.ts'
import { warmth } from './slow-start.ts'

/**
 * How often the endpoints are looked at. Until then, a pick without a healthy endpoint here looks
 * elsewhere.
 */
const LOOK_EVERY_MS = 100
/**
 * How many times slower than the others the own zone may be: it costs a way that is longer, and
 * chance alone makes a few endpoints look slower than many. These figures are of the simulator.
 */
const NEAR = 1.5
/** Latencies after fewer picks than this are mostly chance, and move the share by less. */
const ENOUGH_PICKS = 40
/** The part of itself that the share loses at a latency of one more than it may be, and at most. */
const FALL = 0.5
const MOST_FALL = 0.3
/** What it gains of the whole. */
const RISE = 0.03
/** Of the picks while nothing is known of other zones. */
const EXPLORED = 0.01
/** What is known of an endpoint that was last heard of before is history. */
const KNOWN_FOR_MS = 30_000

export class ZoneShare {
  readonly zone: string
  #share = 1
  /** That the healthy part of the zone can bear. */
  #most = 1
  #lookedAt = Number.NEGATIVE_INFINITY
  #picks = 0
  #here = 0
  #elsewhere = 0

  constructor(zone: string) {
    this.zone = zone
  }

  /** From 0 to 1; the others go to any zone. One call for each pick. */
  local(endpoints: readonly Endpoint[], zones: number, now: number): number {
    this.#picks += 1
    if (now - this.#lookedAt >= LOOK_EVERY_MS) {
      this.#lookedAt = now
      this.#look(endpoints, zones, now)
      this.#picks = 0
    }
    return Math.min(this.#share, this.#most)
  }

  #look(endpoints: readonly Endpoint[], zones: number, now: number): void {
    let [own, whole, all] = [0, 0, 0]
    let [hereMs, hereKnown, elsewhereMs, elsewhereKnown] = [0, 0, 0, 0]
    for (const endpoint of endpoints) {
      const capacity = endpoint.weight * warmth(endpoint, now)
      const isOwn = endpoint.zone === this.zone
      if (isOwn) whole += capacity
      if (endpoint.state !== 'healthy') continue
      all += capacity
      if (isOwn) own += capacity
      if (endpoint.estimateMs === 0 || now - endpoint.estimatedAt > KNOWN_FOR_MS) continue
      const silence = endpoint.oldest === undefined ? 0 : now - endpoint.oldest.startedAt
      const ms = capacity * Math.max(endpoint.estimateMs, silence)
      if (isOwn) {
        hereMs += ms
        hereKnown += capacity
      } else {
        elsewhereMs += ms
        elsewhereKnown += capacity
      }
    }
    const fair = all === 0 ? 1 : own / all
    // Nothing measures latency: as if callers were spread evenly over the zones, no endpoint of
    // this one gets more than 1.4 times the mean load.
    if (hereKnown === 0) {
      this.#share = kept(OVERPROVISIONING * zones * fair, fair)
      this.#most = 1
      return
    }
    this.#most = kept((OVERPROVISIONING * own) / whole, fair)
    const weight = Math.min(1, this.#picks / ENOUGH_PICKS)
    this.#here = smoothed(this.#here, hereMs / hereKnown, weight)
    // Few picks go elsewhere while nothing is known of there.
    if (elsewhereKnown === 0) {
      this.#share = Math.min(1 - EXPLORED, this.#share + weight * RISE)
      return
    }
    this.#elsewhere = smoothed(this.#elsewhere, elsewhereMs / elsewhereKnown, weight)
    const excess = this.#here / this.#elsewhere - NEAR
    if (excess > 0) this.#share *= 1 - Math.min(1, weight * (1 + excess)) * Math.min(MOST_FALL, FALL * excess)
    else this.#share = Math.min(1, this.#share + weight * RISE)
  }
}

/** The share to keep for `wanted` of all to stay: of the others, which go anywhere, `fair` do. */
function kept(wanted: number, fair: number): number {
  return wanted >= 1 || fair >= 1 ? 1 : Math.max(0, (wanted - fair) / (1 - fair))
}

/** A multiple of what was is hardly chance, and counts at once. */
function smoothed(before: number, next: number, weight: number): number {
  return before === 0 ? next : before + (next - before) * Math.min(1, weight * Math.max(1, next / before))
}
