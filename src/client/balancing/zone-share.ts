/**
 * The share of calls that stay in the client's zone. It falls while the zone's endpoints answer
 * more slowly than the others, in proportion, and rises again once they do not.
 */
import type { Endpoint } from '../../core/endpoint.ts'
import { OVERPROVISIONING } from './level-shares.ts'
import { RecentLatency } from './recent-latency.ts'
import { warmth } from './slow-start.ts'

/**
 * How often the endpoints are looked at. Until then, a pick without a healthy endpoint here looks
 * elsewhere.
 */
const LOOK_EVERY_MS = 100
/**
 * How many times slower than the others the own zone may be: it costs a way that is longer. These
 * figures are of the simulator (`npm run -s simulate -- --only p`).
 */
const NEAR = 1.5
/** Answers of which the mean is compared, and its memory; that of elsewhere, where few calls go. */
const MOST_ANSWERS = 60
const MEMORY_MS = 2_000
const MEMORY_ELSEWHERE_MS = 20_000
/** A rise of load shows in the last few answers first. */
const LATEST = 3
/** Standard errors by which a mean must be too large: chance makes few look slower than many. */
const SURE = 1
const SURE_OF_LATEST = 1.2
/** The part of itself that the share loses at twice the latency that it may have, and at most. */
const FALL = 0.5
const MOST_FALL = 0.3
const MOST_FALL_BY_LATEST = 0.5
/** After a fall the share stays until answers can tell of it, and for no longer than this. */
const LONGEST_PAUSE_MS = 1_000
/** What it gains of the whole while the zone is no slower than the others; near the limit, less. */
const RISE = 0.05
/** The share moves by less after fewer answers than this. */
const ENOUGH = 20
/** Of the picks while little is known of other zones, in answers. */
const EXPLORED = 0.01
const LITTLE = 4

export class ZoneShare {
  readonly zone: string
  #share = 1
  /** That the healthy part of the zone can bear. */
  #most = 1
  #lookedAt = Number.NEGATIVE_INFINITY
  #fellAt = Number.NEGATIVE_INFINITY
  #endpoints: readonly Endpoint[] | undefined
  readonly #here = new RecentLatency(MOST_ANSWERS, MEMORY_MS)
  readonly #latest = new RecentLatency(LATEST, MEMORY_MS)
  readonly #elsewhere = new RecentLatency(MOST_ANSWERS, MEMORY_ELSEWHERE_MS)

  constructor(zone: string) {
    this.zone = zone
  }

  /**
   * From 0 to 1; the others go to any zone. One call for each pick. `measured`: the balancer
   * measures latency; what another one measured before it is out of date.
   */
  local(endpoints: readonly Endpoint[], zones: number, measured: boolean, now: number): number {
    if (now - this.#lookedAt >= LOOK_EVERY_MS) {
      this.#lookedAt = now
      this.#look(endpoints, zones, measured, now)
    }
    return Math.min(this.#share, this.#most)
  }

  #look(endpoints: readonly Endpoint[], zones: number, measured: boolean, now: number): void {
    let [own, whole, all] = [0, 0, 0]
    let [here, hereMs, elsewhere, elsewhereMs, late, lateMs] = [0, 0, 0, 0, 0, 0]
    for (const endpoint of endpoints) {
      const capacity = endpoint.weight * warmth(endpoint, now)
      const isOwn = endpoint.zone === this.zone
      if (isOwn) {
        whole += capacity
        here += endpoint.samples
        hereMs += endpoint.samplesMs
      } else {
        elsewhere += endpoint.samples
        elsewhereMs += endpoint.samplesMs
      }
      if (endpoint.state !== 'healthy') continue
      all += capacity
      if (!isOwn) continue
      own += capacity
      const silence = endpoint.oldest === undefined ? 0 : now - endpoint.oldest.startedAt
      if (silence <= this.#latest.meanMs) continue
      late += 1
      lateMs += silence
    }
    const fair = all === 0 ? 1 : own / all
    // Nothing measures latency: as if callers were spread evenly over the zones, no endpoint of
    // this one gets more than 1.4 times the mean load.
    if (!measured || here === 0) {
      this.#share = kept(OVERPROVISIONING * zones * fair, fair)
      this.#most = 1
      return
    }
    this.#most = kept((OVERPROVISIONING * own) / whole, fair)
    if (this.#endpoints !== endpoints) {
      this.#endpoints = endpoints
      for (const each of [this.#here, this.#latest]) each.rebase(here, hereMs)
      this.#elsewhere.rebase(elsewhere, elsewhereMs)
    }
    this.#latest.follow(here, hereMs, now)
    const freshHere = this.#here.follow(here, hereMs, now)
    const freshElsewhere = this.#elsewhere.follow(elsewhere, elsewhereMs, now)
    this.#adapt(freshHere, freshElsewhere, late, lateMs, now)
  }

  #adapt(freshHere: number, freshElsewhere: number, late: number, lateMs: number, now: number): void {
    const { meanMs, answers } = this.#here
    if (answers === 0) return
    const latest = this.#latest
    // As long as nothing is known of elsewhere, the zone is compared with what it was.
    const others = this.#elsewhere.meanMs === 0 ? this.#here : this.#elsewhere
    const usual = others.meanMs
    const excess = excessOf(meanMs / usual, answers, others.answers, SURE)
    // What has waited for longer than the latest answers took is one more of them.
    const counted = latest.answers + late
    const latestMs = (latest.meanMs * latest.answers + lateMs) / counted
    const excessNow = excessOf(latestMs / usual, counted, others.answers, SURE_OF_LATEST)
    if (excess > 0 || excessNow > 0) {
      // What is answered by then was sent before the last fall.
      if (now < this.#fellAt + Math.min(latest.meanMs, LONGEST_PAUSE_MS)) return
      const fall = Math.min(1, freshHere / ENOUGH) * Math.min(MOST_FALL, FALL * excess)
      const fallNow = Math.min(1, (freshHere + late) / LATEST) * Math.min(MOST_FALL_BY_LATEST, FALL * excessNow)
      this.#share *= 1 - Math.max(fall, fallNow)
      this.#fellAt = now
      return
    }
    const room = NEAR - meanMs / usual
    if (room <= 0) return
    const rise = Math.min(1, (freshHere + freshElsewhere) / ENOUGH) * RISE * Math.min(1, room / (NEAR - 1))
    this.#share = Math.min(this.#elsewhere.answers < LITTLE ? 1 - EXPLORED : 1, this.#share + rise)
  }
}

/**
 * By which part a mean of `answers` is larger than it may be beside one of `known`, chance allowed
 * for: latencies scatter by about their mean.
 */
function excessOf(ratio: number, answers: number, known: number, sure: number): number {
  const chance = sure * Math.sqrt(1 / Math.max(1, answers) + 1 / Math.max(1, known))
  return Math.max(0, ratio / (NEAR * Math.exp(chance)) - 1)
}

/** The share to keep for `wanted` of all to stay: of the others, which go anywhere, `fair` do. */
function kept(wanted: number, fair: number): number {
  return wanted >= 1 || fair >= 1 ? 1 : Math.max(0, (wanted - fair) / (1 - fair))
}
