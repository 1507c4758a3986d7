/**
 * The counts of the last hour, packed by time. What comes is appended to its slot; a slot that has
 * settled is compacted, and twelve of them become a minute.
 */
import { compact } from './compact.ts'
import { RecordWriter } from './records.ts'
import {
  LEAST_SLOTS_KEPT,
  MINUTE_MS,
  MINUTES_KEPT,
  SETTLE_MS,
  SLOT_MS,
  SLOTS_KEPT,
  SLOTS_PER_MINUTE,
  type Span,
} from './slots.ts'
import { takeShare } from './spread.ts'
import { Totals } from './totals.ts'

/** Of all that is packed. */
const MOST_BYTES = 68 * 1024 * 1024
/** Of what one slot takes before it is compacted: more is a flood. */
const MOST_SLOT_BYTES = 8 * 1024 * 1024

interface Slot {
  /** Compacted, then what came late. */
  chunks: Buffer[]
  /** What comes. `undefined`: nothing has since the last compaction. */
  open: RecordWriter | undefined
}

/** Packed records of one time. */
export interface Packed extends Span {
  readonly chunks: readonly Buffer[]
}

export class Rings {
  /** By number of the slot, oldest first. */
  readonly #slots = new Map<number, Slot>()
  /** By number of the minute, oldest first. */
  readonly #minutes = new Map<number, Buffer>()
  readonly #mostBytes: number
  readonly #part = new Totals()
  /** The first slot that was begun: before it nothing was heard. */
  readonly #first: number
  #bytes = 0
  /** Slots before this one are gone; it begins a minute, unless it is the first of all. */
  #oldest: number
  /** Slots before this one are compacted. */
  #settled: number
  /** Minutes before this one are made. */
  #made: number
  /** Made minutes that something late belongs to. */
  readonly #stale = new Set<number>()
  /** Minutes before this one are gone. */
  #forgotten: number

  /** `now`: on the monotonic clock, whose zero begins a slot and a minute. */
  constructor(now: number, mostBytes = MOST_BYTES) {
    this.#mostBytes = mostBytes
    this.#first = Math.floor(now / SLOT_MS)
    this.#oldest = this.#first
    this.#settled = this.#first
    this.#made = Math.floor(now / MINUTE_MS)
    this.#forgotten = this.#made
  }

  /** Of all packed records, in memory. */
  get bytes(): number {
    return this.#bytes
  }

  /** Where what is known begins. */
  get since(): number {
    return Math.max(this.#first * SLOT_MS, this.#forgotten * MINUTE_MS)
  }

  /** Where what is known for good ends. */
  get settledUntil(): number {
    return this.#settled * SLOT_MS
  }

  /** Whether only minutes are left of what was at `at`. */
  isCoarse(at: number): boolean {
    return at < this.#oldest * SLOT_MS && this.since < this.#oldest * SLOT_MS
  }

  /**
   * Adds `totals`, counted during `span`, over its slots, and empties it. The share of a time that
   * is not kept goes. False: a slot is full, and what belongs to it is lost.
   */
  add(series: number, totals: Totals, span: Span): boolean {
    let whole = true
    for (let at = span.from; ; ) {
      const number = Math.max(Math.floor(at / SLOT_MS), this.#oldest - 1)
      const end = Math.min((number + 1) * SLOT_MS, span.to)
      takeShare(totals, end >= span.to ? 1 : (end - at) / (span.to - at), this.#part)
      if (number >= this.#oldest && !this.#part.isEmpty && !this.#append(number, series, this.#part)) whole = false
      if (end >= span.to) return whole
      at = end
    }
  }

  /** The settled part of `span`: slots where there are, minutes before. `coarse`: minutes first. */
  within(span: Span, coarse: boolean): Packed[] {
    const found: Packed[] = []
    const end = Math.min(span.to, this.settledUntil)
    let at = Math.max(span.from, this.since)
    while (at < end) {
      const minute = Math.floor(at / MINUTE_MS)
      const slot = Math.floor(at / SLOT_MS)
      const whole = coarse && minute < this.#made && at === minute * MINUTE_MS && at + MINUTE_MS <= end
      if (!whole && slot >= this.#oldest) {
        found.push({ ...spanOf(slot, SLOT_MS), chunks: chunksOf(this.#slots.get(slot)) })
        at = (slot + 1) * SLOT_MS
      } else {
        const packed = this.#minutes.get(minute)
        found.push({ ...spanOf(minute, MINUTE_MS), chunks: packed === undefined ? [] : [packed] })
        at = (minute + 1) * MINUTE_MS
      }
    }
    return found
  }

  /** Compacts settled slots, makes minutes, forgets old ones. Yields after each portion. */
  *settle(now: number): Generator<void, void, void> {
    const until = Math.floor((now - SETTLE_MS) / SLOT_MS)
    for (const [number, slot] of [...this.#slots]) {
      if (number < until && slot.open !== undefined) yield* this.#compact(slot)
    }
    if (until > this.#settled) this.#settled = until
    for (const minutes = Math.floor(this.#settled / SLOTS_PER_MINUTE); this.#made < minutes; ) {
      yield* this.#make(this.#made)
      this.#made += 1
    }
    for (const minute of [...this.#stale]) {
      this.#stale.delete(minute)
      // The first minute of all need not have its first slots.
      if ((minute + 1) * SLOTS_PER_MINUTE > this.#oldest) yield* this.#make(minute)
    }
    this.#forget()
  }

  #append(number: number, series: number, totals: Totals): boolean {
    let slot = this.#slots.get(number)
    if (slot === undefined) {
      slot = { chunks: [], open: undefined }
      this.#slots.set(number, slot)
    }
    slot.open ??= new RecordWriter()
    const minute = Math.floor(number / SLOTS_PER_MINUTE)
    if (minute < this.#made) this.#stale.add(minute)
    const before = slot.open.length
    if (before > MOST_SLOT_BYTES) return false
    slot.open.write(series, totals)
    this.#bytes += slot.open.length - before
    return true
  }

  *#compact(slot: Slot): Generator<void, void, void> {
    const taken = [...slot.chunks, slot.open!.take()]
    const { length } = slot.chunks
    slot.open = undefined
    slot.chunks = taken
    const packed = yield* compact(taken)
    this.#bytes += packed.length - taken.reduce((sum, chunk) => sum + chunk.length, 0)
    slot.chunks = [packed, ...slot.chunks.slice(length + 1)]
  }

  *#make(minute: number): Generator<void, void, void> {
    const chunks: Buffer[] = []
    for (let i = 0; i < SLOTS_PER_MINUTE; i++) chunks.push(...chunksOf(this.#slots.get(minute * SLOTS_PER_MINUTE + i)))
    if (chunks.length === 0) return
    const packed = yield* compact(chunks)
    this.#bytes += packed.length - (this.#minutes.get(minute)?.length ?? 0)
    this.#minutes.set(minute, packed)
  }

  #forget(): void {
    for (;;) {
      const next = (Math.floor(this.#oldest / SLOTS_PER_MINUTE) + 1) * SLOTS_PER_MINUTE
      const isOld = next <= this.#settled - SLOTS_KEPT
      const isDear = next <= this.#settled - LEAST_SLOTS_KEPT && this.#bytes > this.#mostBytes
      if (!(isOld || isDear) || next > this.#made * SLOTS_PER_MINUTE) break
      for (; this.#oldest < next; this.#oldest++) this.#drop(this.#oldest)
    }
    for (const [number, packed] of this.#minutes) {
      if (number >= this.#made - MINUTES_KEPT && this.#bytes <= this.#mostBytes) break
      // Its slots say the same.
      if (number * SLOTS_PER_MINUTE >= this.#oldest) break
      this.#bytes -= packed.length
      this.#minutes.delete(number)
      this.#forgotten = number + 1
    }
    this.#forgotten = Math.max(this.#forgotten, this.#made - MINUTES_KEPT)
  }

  #drop(number: number): void {
    const slot = this.#slots.get(number)
    if (slot === undefined) return
    this.#bytes -= sizeOf(slot)
    this.#slots.delete(number)
  }
}

function spanOf(number: number, ms: number): Span {
  return { from: number * ms, to: (number + 1) * ms }
}

function chunksOf(slot: Slot | undefined): readonly Buffer[] {
  if (slot === undefined) return []
  return slot.open === undefined ? slot.chunks : [...slot.chunks, slot.open.view()]
}

function sizeOf(slot: Slot): number {
  return chunksOf(slot).reduce((sum, { length }) => sum + length, 0)
}
