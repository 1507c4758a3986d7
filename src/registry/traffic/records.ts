/**
 * Totals of series as packed bytes: one record a series, all numbers as varints, zeros left out.
 * A series may have several records; they add up.
 *
 * Record: series, flags, calls, then what the flags name: pairs of code and failures after their
 * number, retries, hedges, mirrored; the first step, how many follow, and their counts, where 0
 * stands before the length of a run of zeros.
 */
import type { Totals } from './totals.ts'

const CODES = 1
const RETRIES = 2
const HEDGES = 4
const MIRRORED = 8
const LATENCIES = 16

const SMALLEST = 1_024
/** A varint of a whole number below 2^53. */
const VARINT_BYTES = 8

export class RecordWriter {
  #bytes: Buffer
  #at = 0

  constructor(size = SMALLEST) {
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(SMALLEST, size))
  }

  get length(): number {
    return this.#at
  }

  /** What was written so far, not copied. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.#at)
  }

  /** A copy of exactly what was written. */
  take(): Buffer {
    return Buffer.from(Uint8Array.prototype.slice.call(this.#bytes, 0, this.#at).buffer)
  }

  write(series: number, totals: Totals): void {
    const { calls, codes, retries, hedges, mirrored, first, last, steps } = totals
    this.#reserve((9 + 2 * codes.size + 2 * Math.max(0, last - first + 1)) * VARINT_BYTES)
    const flags =
      (codes.size > 0 ? CODES : 0) |
      (retries > 0 ? RETRIES : 0) |
      (hedges > 0 ? HEDGES : 0) |
      (mirrored > 0 ? MIRRORED : 0) |
      (first <= last ? LATENCIES : 0)
    this.#varint(series)
    this.#varint(flags)
    this.#varint(calls)
    if (codes.size > 0) {
      this.#varint(codes.size)
      for (const [code, count] of codes) {
        this.#varint(code)
        this.#varint(count)
      }
    }
    if (retries > 0) this.#varint(retries)
    if (hedges > 0) this.#varint(hedges)
    if (mirrored > 0) this.#varint(mirrored)
    if (first > last) return
    this.#varint(first)
    this.#varint(last - first)
    for (let step = first; step <= last; ) {
      const count = steps[step]!
      this.#varint(count)
      if (count > 0) {
        step += 1
        continue
      }
      let zeros = 1
      while (steps[step + zeros] === 0) zeros += 1
      this.#varint(zeros)
      step += zeros
    }
  }

  #reserve(more: number): void {
    if (this.#at + more <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#at + more, this.#bytes.length * 2))
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }

  /** Sums of hostile counts are cut off, so that no record is longer than was reserved. */
  #varint(count: number): void {
    let value = Math.min(count, Number.MAX_SAFE_INTEGER)
    const bytes = this.#bytes
    let at = this.#at
    while (value >= 0x80) {
      bytes[at++] = (value % 0x80) | 0x80
      value = Math.floor(value / 0x80)
    }
    bytes[at++] = value
    this.#at = at
  }
}

export class RecordReader {
  /** Of the record that was read last. */
  series = 0
  #bytes: Buffer
  #at = 0
  #end: number

  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#end = bytes.length
  }

  /** Where the next record begins. */
  get position(): number {
    return this.#at
  }

  seek(position: number): void {
    this.#at = position
  }

  /** Moves to the next record: {@link addTo} or {@link skip} follows. False: there is none. */
  next(): boolean {
    if (this.#at >= this.#end) return false
    this.series = this.#varint()
    return true
  }

  addTo(totals: Totals): void {
    const flags = this.#varint()
    totals.calls += this.#varint()
    if (flags & CODES) {
      for (let left = this.#varint(); left > 0; left--) {
        const code = this.#varint()
        totals.addFailures(code, this.#varint())
      }
    }
    if (flags & RETRIES) totals.retries += this.#varint()
    if (flags & HEDGES) totals.hedges += this.#varint()
    if (flags & MIRRORED) totals.mirrored += this.#varint()
    if (!(flags & LATENCIES)) return
    let step = this.#varint()
    const last = step + this.#varint()
    while (step <= last) {
      const count = this.#varint()
      if (count > 0) totals.addLatencies(step++, count)
      else step += this.#varint()
    }
  }

  skip(): void {
    const flags = this.#varint()
    this.#varint()
    if (flags & CODES) for (let left = 2 * this.#varint(); left > 0; left--) this.#varint()
    for (let flag = RETRIES; flag <= MIRRORED; flag <<= 1) if (flags & flag) this.#varint()
    if (!(flags & LATENCIES)) return
    let step = this.#varint()
    const last = step + this.#varint()
    while (step <= last) step += this.#varint() > 0 ? 1 : this.#varint()
  }

  #varint(): number {
    const bytes = this.#bytes
    let value = bytes[this.#at++]!
    if (value < 0x80) return value
    value -= 0x80
    let scale = 0x80
    for (;;) {
      const byte = bytes[this.#at++]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 0x80
    }
  }
}
