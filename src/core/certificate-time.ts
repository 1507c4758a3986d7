/**
 * The time by which certificates are judged: the wall clock, unless it has just leapt ahead. A leap
 * expires all certificates at once, so the old time applies while processes renew (decision 0020).
 */
import type { Clock } from './clock.ts'

/**
 * How long after a leap certificates are judged as before it: two looks, the spread of renewals,
 * and their retries.
 */
export const LEAP_GRACE_MS = 10_000
/** What a leap makes due at once is spread over so long. */
export const LEAP_SPREAD_MS = 2_000
/** Between two samples; time servers correct a clock by less. */
const LEAP_MS = 1_000

/**
 * One per clock, so that clients, servers and the registry of a process agree.
 *
 * - `steady` → `leapt`: the wall clock has gained more than {@link LEAP_MS} on the monotonic clock
 *   since the last sample
 * - `leapt` → `steady`: {@link LEAP_GRACE_MS} are over, or the wall clock was put back
 */
export class CertificateTime {
  readonly #clock: Clock
  /** The last sample before a leap. */
  #wallAt: number
  #at: number
  /** When the leap was noticed, by the monotonic clock. */
  #leaptAt: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
    this.#wallAt = clock.wallNow()
    this.#at = clock.now()
  }

  /** In ms since 1970; behind the wall clock only after a leap. */
  now(): number {
    // The wall clock first: a pause between the two must not look like a leap.
    const wallNow = this.#clock.wallNow()
    const now = this.#clock.now()
    const expected = this.#wallAt + (now - this.#at)
    if (wallNow - expected > LEAP_MS) {
      this.#leaptAt ??= now
      if (now - this.#leaptAt < LEAP_GRACE_MS) return expected
    }
    this.#leaptAt = undefined
    this.#wallAt = wallNow
    this.#at = now
    return wallNow
  }

  /** When a leap of a moment ago was noticed, by the monotonic clock. */
  get leaptAt(): number | undefined {
    this.now()
    return this.#leaptAt
  }
}

const times = new WeakMap<Clock, CertificateTime>()

export function certificateTimeOf(clock: Clock): CertificateTime {
  let time = times.get(clock)
  if (time === undefined) {
    time = new CertificateTime(clock)
    times.set(clock, time)
  }
  return time
}

/** `other` runs as `clock` does, and judges certificates by the same time. */
export function shareCertificateTime(clock: Clock, other: Clock): void {
  times.set(other, certificateTimeOf(clock))
}
