/**
 * Latencies as processes report them to the registry: counts by step, which merge by addition. A
 * quantile of merged digests is as precise as one of all values.
 *
 * Steps, in whole µs (the steps of {@link stepOf}, merged in pairs):
 *
 * | step | lowest µs | width |
 * | --- | --- | --- |
 * | 0, 1, 2, 3 | 0, 2, 4, 6 | 2 µs |
 * | 4e + q, e = 1 to 28, q = 0 to 3 | 2^e · (4 + q) | 2^e µs: at most 1/4 of the lowest |
 *
 * As text: one entry for each step that has counts, in ascending order, separated by commas. An
 * entry is the difference to the step before (for the first: the step), then `:` and the count,
 * both in base 36 without leading zeros. A count of 1 is left out: `1c:3,1,4:a`.
 */
import { LARGEST_US, lowestOf, STEP_COUNT, stepOf, wholeUs } from '../latency-steps.ts'

/** How many steps a digest has: 0 to 115. */
export const DIGEST_STEPS = STEP_COUNT / 2
/** Of one step in a text. Sums of thousands of them are exact. */
export const MOST_COUNTED = 2 ** 40
/** A quantile differs from the exact one by at most this share of it, or by 1 µs. */
export const DIGEST_ERROR = 1 / 8

/** Two digits of the step, eight of its count, and two separators. */
const LONGEST_TEXT = DIGEST_STEPS * 12
const COMMA = 44
const COLON = 58

/** A text that no digest has. */
export class InvalidDigest extends Error {
  override readonly name = 'InvalidDigest'
}

export class LatencyDigest {
  readonly #counts = new Float64Array(DIGEST_STEPS)

  /** @throws InvalidDigest */
  static decode(text: string): LatencyDigest {
    const digest = new LatencyDigest()
    digest.mergeText(text)
    return digest
  }

  /** Negative values and NaN count as 0, values above 35 minutes as that. */
  record(ms: number): void {
    this.#counts[stepOf(wholeUs(ms)) >>> 1]! += 1
  }

  /** Adds all that `other` has. */
  merge(other: LatencyDigest): void {
    const added = other.#counts
    for (let step = 0; step < DIGEST_STEPS; step++) this.#counts[step]! += added[step]!
  }

  /**
   * Adds what `text` encodes; returns how many values that is. A text that is refused adds nothing.
   * @throws InvalidDigest
   */
  mergeText(text: string): number {
    const added = checkDigest(text)
    readEntries(text, this.#counts)
    return added
  }

  get count(): number {
    let count = 0
    for (const counted of this.#counts) count += counted
    return count
  }

  /**
   * The quantile `q` (0 to 1) in ms, within {@link DIGEST_ERROR}; `undefined` if there are no
   * values.
   * @throws RangeError if `q` is outside 0 to 1.
   */
  quantile(q: number): number | undefined {
    if (!(q >= 0 && q <= 1)) throw new RangeError(`a quantile is from 0 to 1, got ${q}`)
    return quantileOf(this.#counts, q)
  }

  /** An empty digest is the empty text. */
  encode(): string {
    return encodeDigest(this.#counts)
  }

  clear(): void {
    this.#counts.fill(0)
  }
}

/**
 * Returns how many values `text` encodes. The work is bounded by the longest text of a digest.
 * @throws InvalidDigest
 */
export function checkDigest(text: string): number {
  if (text.length > LONGEST_TEXT) throw new InvalidDigest(`a digest has at most ${LONGEST_TEXT} characters`)
  return readEntries(text, undefined)
}

/**
 * Adds what `text` encodes to `counts`, by step; returns how many values that is.
 * @throws InvalidDigest when a part may have been added: check a text from outside first.
 */
export function addDigest(text: string, counts: Float64Array): number {
  return readEntries(text, counts)
}

/** The quantile `q` of counts by step, in ms; `undefined` if there are none. */
export function quantileOf(counts: Float64Array, q: number): number | undefined {
  let count = 0
  for (const counted of counts) count += counted
  if (count === 0) return undefined
  const rank = Math.max(1, Math.ceil(q * count))
  let seen = 0
  for (let step = 0; step < DIGEST_STEPS; step++) {
    seen += counts[step]!
    if (seen >= rank) return middleMs(step)
  }
  return middleMs(DIGEST_STEPS - 1)
}

/** Counts by step as text; none are the empty text. */
export function encodeDigest(counts: Float64Array): string {
  let text = ''
  let before = 0
  for (let step = 0; step < DIGEST_STEPS; step++) {
    const count = Math.min(counts[step]!, MOST_COUNTED)
    if (count === 0) continue
    if (text !== '') text += ','
    text += (step - before).toString(36)
    if (count > 1) text += `:${count.toString(36)}`
    before = step
  }
  return text
}

/** Adds the entries to `counts`. Every number has exactly one spelling. */
function readEntries(text: string, counts: Float64Array | undefined): number {
  const { length } = text
  let step = 0
  let total = 0
  let at = 0
  while (at < length) {
    const start = at
    let gap = 0
    for (; at < length && text.charCodeAt(at) !== COMMA && text.charCodeAt(at) !== COLON; at++) {
      gap = gap * 36 + digitAt(text, at)
      if (at > start && text.charCodeAt(start) === 48) throw malformed(start)
      if (gap >= DIGEST_STEPS) throw malformed(start)
    }
    if (at === start || (gap === 0 && start > 0)) throw malformed(start)
    step += gap
    if (step >= DIGEST_STEPS) throw malformed(start)
    let count = 1
    if (text.charCodeAt(at) === COLON) {
      const first = ++at
      for (count = 0; at < length && text.charCodeAt(at) !== COMMA; at++) {
        count = count * 36 + digitAt(text, at)
        if (count > MOST_COUNTED) throw malformed(first)
      }
      if (count < 2 || text.charCodeAt(first) === 48) throw malformed(first)
    }
    if (counts !== undefined) counts[step]! += count
    total += count
    // Another entry follows a comma.
    if (at < length && ++at === length) throw malformed(at)
  }
  return total
}

function digitAt(text: string, at: number): number {
  const code = text.charCodeAt(at)
  if (code >= 48 && code <= 57) return code - 48
  if (code >= 97 && code <= 122) return code - 87
  throw malformed(at)
}

function malformed(at: number): InvalidDigest {
  return new InvalidDigest(`a digest is malformed at character ${at}`)
}

/** Middle of a step in ms. */
function middleMs(step: number): number {
  const end = step === DIGEST_STEPS - 1 ? LARGEST_US + 1 : lowestOf(2 * step + 2)
  return (lowestOf(2 * step) + end) / 2_000
}
