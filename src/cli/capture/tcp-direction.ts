/**
 * Puts the segments of one direction of a TCP connection in order: drops what came twice, holds
 * what came early, and stops at a hole that is never filled.
 */
import type { Segment } from './tcp-segment.ts'

/** Of segments that wait for an earlier one. */
const MOST_HELD_BYTES = 16 * 1024 * 1024
const MOST_HELD = 4_096

interface Held {
  readonly sequence: number
  readonly payload: Buffer
}

/** How far `b` lies behind `a`, in the circle of sequence numbers. */
function distance(a: number, b: number): number {
  return (b - a) | 0
}

export class TcpDirection {
  /** Whether the capture has the beginning of the connection. */
  readonly fromStart: boolean
  /** Why no more bytes follow. */
  cut: string | undefined
  #next: number
  #held: Held[] = []
  #heldBytes = 0

  constructor(first: Segment) {
    this.fromStart = first.syn
    this.#next = first.syn ? (first.sequence + 1) | 0 : first.sequence | 0
  }

  /** The bytes that this segment makes readable, in order. */
  add({ sequence, payload, missing }: Segment, syn: boolean): Buffer[] {
    if (this.cut !== undefined) return []
    const at = syn ? (sequence + 1) | 0 : sequence | 0
    const ready: Buffer[] = []
    if (distance(this.#next, at) > 0) this.#hold({ sequence: at, payload })
    else this.#take(at, payload, ready)
    // What was not captured may come again; if not, it is a hole.
    if (missing > 0 && distance(this.#next, (at + payload.length) | 0) === 0 && this.#held.length === 0) {
      this.cut = `the capture has only the first ${payload.length} bytes of a packet; capture with snap length 0`
    }
    this.#release(ready)
    return ready
  }

  /** The connection is over: says what was missing. */
  end(): string | undefined {
    if (this.cut === undefined && this.#held.length > 0) {
      const gap = distance(this.#next, this.#held[0]!.sequence)
      this.cut = `${gap} bytes are missing in the capture, and ${this.#heldBytes} bytes after them are not decoded`
    }
    return this.cut
  }

  #take(at: number, payload: Buffer, ready: Buffer[]): void {
    const known = distance(at, this.#next)
    if (known >= payload.length) return
    ready.push(known === 0 ? payload : payload.subarray(known))
    this.#next = (at + payload.length) | 0
  }

  #hold(held: Held): void {
    if (held.payload.length === 0) return
    let place = this.#held.length
    while (place > 0 && distance(held.sequence, this.#held[place - 1]!.sequence) > 0) place -= 1
    this.#held.splice(place, 0, held)
    this.#heldBytes += held.payload.length
    if (this.#held.length > MOST_HELD || this.#heldBytes > MOST_HELD_BYTES) {
      this.end()
      this.#held = []
    }
  }

  #release(ready: Buffer[]): void {
    let taken = 0
    while (taken < this.#held.length && distance(this.#next, this.#held[taken]!.sequence) <= 0) {
      const { sequence, payload } = this.#held[taken]!
      this.#take(sequence, payload, ready)
      this.#heldBytes -= payload.length
      taken += 1
    }
    if (taken > 0) this.#held.splice(0, taken)
  }
}
