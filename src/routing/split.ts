/**
 * Which target of a split gets a call: by turns that are exact at any moment, or by a sticky key
 * whose target only ever changes to one whose weight was raised.
 */
import { hashText } from '../core/hash.ts'
import type { TargetSettings } from './settings.ts'

type Weighted = Pick<TargetSettings, 'key' | 'weight'>

/** A target and its calls since the last change of weights. */
interface Share {
  readonly key: string
  readonly weight: number
  /** Less than 0 after a period in which it had one call too many. */
  calls: number
  /** Calls that it was behind at the last change. */
  readonly behind: number
}

/**
 * Weighted fair turns. Since the last change of weights, each target has its exact share of the
 * calls, give or take one, at any moment.
 *
 * A target may have its next call once its exact share reaches the calls that it had; of those, the
 * call goes to the one whose exact share reaches its next call first (WF2Q: Bennett and Zhang,
 * INFOCOM 1996; Tijdeman's chairman assignment, 1980). nginx's smooth round robin lets one of many
 * targets fall behind by more than one. That bound leaves the first call free: it is drawn by
 * weight, so that many processes do not begin alike, and after a change it goes to the target that
 * was furthest behind, so that frequent changes starve none.
 */
export class SplitTurns {
  #shares: readonly Share[]
  #total: number
  /** Calls since the last change, modulo the total. */
  #calls = 0
  /** The index of the target of the first call. */
  #first: number

  /** @param random - from 0 to 1; draws the first target */
  constructor(targets: readonly Weighted[], random: number) {
    this.#shares = targets.map(({ key, weight }) => ({ key, weight, calls: 0, behind: 0 }))
    this.#total = totalOf(targets)
    this.#first = draw(targets, random * this.#total)
  }

  /** Goes on with other targets or weights. The same ones change nothing. */
  configure(targets: readonly Weighted[]): void {
    const before = this.#shares
    if (sameAs(before, targets)) return
    const behind = new Map(before.map((share) => [share.key, this.#behind(share)]))
    this.#shares = targets.map(({ key, weight }) => ({ key, weight, calls: 0, behind: behind.get(key) ?? 0 }))
    this.#total = totalOf(targets)
    this.#calls = 0
    this.#first = furthestBehind(this.#shares, this.#total)
  }

  /** The index of the target of the next call. */
  next(): number {
    const chosen = this.#first < 0 ? this.#earliest() : this.#first
    this.#first = -1
    this.#shares[chosen]!.calls += 1
    this.#calls += 1
    if (this.#calls === this.#total) this.#beginPeriod()
    return chosen
  }

  #earliest(): number {
    const [shares, total, calls] = [this.#shares, this.#total, this.#calls]
    let earliest = 0
    let due = Number.POSITIVE_INFINITY
    for (let i = 0; i < shares.length; i++) {
      const share = shares[i]!
      // Its exact share is behind the calls that it had.
      if (share.weight === 0 || share.calls * total > calls * share.weight) continue
      const at = (share.calls + 1) / share.weight
      if (at >= due) continue
      earliest = i
      due = at
    }
    return earliest
  }

  /** Keeps numbers small. */
  #beginPeriod(): void {
    this.#calls = 0
    for (const share of this.#shares) share.calls -= share.weight
  }

  #behind({ weight, calls, behind }: Share): number {
    return this.#total === 0 ? behind : behind + (this.#calls * weight) / this.#total - calls
  }
}

function totalOf(targets: readonly Weighted[]): number {
  return targets.reduce((sum, { weight }) => sum + weight, 0)
}

function draw(targets: readonly Weighted[], at: number): number {
  let below = 0
  for (const [i, { weight }] of targets.entries()) {
    below += weight
    if (at < below) return i
  }
  return Math.max(
    0,
    targets.findIndex(({ weight }) => weight > 0),
  )
}

function furthestBehind(shares: readonly Share[], total: number): number {
  let furthest = 0
  let most = Number.NEGATIVE_INFINITY
  for (const [i, { weight, behind }] of shares.entries()) {
    if (weight === 0) continue
    const after = behind + weight / total
    if (after <= most) continue
    furthest = i
    most = after
  }
  return furthest
}

function sameAs(shares: readonly Share[], targets: readonly Weighted[]): boolean {
  if (shares.length !== targets.length) return false
  return shares.every(({ key, weight }, i) => targets[i]!.key === key && targets[i]!.weight === weight)
}

/** Any number, the same in every process of a mesh. */
const SEED = 0x5b1a9d37

/**
 * The index of the target for a sticky key: the highest of `-weight / ln(hash)`, with the hash of
 * key and target from 0 to 1 (weighted rendezvous hashing: Schindelhauer and Schomaker, SPAA 2005).
 * A target's number depends on its own weight only, so a raised weight moves keys to that target
 * and between no others. All processes decide alike.
 */
export function stickyIndex(targets: readonly Weighted[], key: string): number {
  let best = 0
  let highest = Number.NEGATIVE_INFINITY
  for (let i = 0; i < targets.length; i++) {
    const target = targets[i]!
    if (target.weight === 0) continue
    const hash = (hashText(key, hashText(target.key, SEED)) + 0.5) / 2 ** 32
    const score = -target.weight / Math.log(hash)
    if (score <= highest) continue
    best = i
    highest = score
  }
  return best
}
