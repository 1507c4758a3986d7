/**
 * Reads the binary form of `xds.data.orca.v3.OrcaLoadReport`. It is decoded by hand, because no
 * protobuf library is a dependency, and fields other than ours are skipped.
 */
import { ORCA_FIELD } from '../../core/orca.ts'
import type { OrcaMetrics } from './metrics.ts'

const VARINT = 0
const FIXED64 = 1
const BYTES = 2
const FIXED32 = 5
/** Beyond it a varint is longer than 64 bits. */
const VARINT_BYTES = 10

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(ORCA_FIELD).map(([name, field]) => [field, name]))

/** Marks `metrics` as invalid if `bytes` are no message. */
export function readMessage(bytes: Buffer, metrics: OrcaMetrics): void {
  const reader = new Reader(bytes)
  while (!reader.ended && reader.next()) {
    const name = NAMES.get(reader.field)
    if (name === undefined) continue
    if (reader.field === ORCA_FIELD.named_metrics && reader.type === BYTES) readEntry(reader.bytes, metrics)
    else if (reader.type === (reader.field === ORCA_FIELD.rps ? VARINT : FIXED64)) metrics.field(name, reader.number)
  }
  if (!reader.ended) metrics.valid = false
}

/** An entry of a map: key 1, value 2, each 0 or empty if it is left out. */
function readEntry(bytes: Buffer, metrics: OrcaMetrics): void {
  const reader = new Reader(bytes)
  let name = ''
  let value = 0
  while (!reader.ended && reader.next()) {
    if (reader.field === 1 && reader.type === BYTES) name = reader.bytes.toString('latin1')
    else if (reader.field === 2 && reader.type === FIXED64) value = reader.number
  }
  if (!reader.ended) metrics.valid = false
  else metrics.named(name, value)
}

const NONE = Buffer.alloc(0)

/** Steps from field to field. */
class Reader {
  field = 0
  type = 0
  number = 0
  bytes: Buffer = NONE
  readonly #from: Buffer
  #at = 0

  constructor(from: Buffer) {
    this.#from = from
  }

  get ended(): boolean {
    return this.#at === this.#from.length
  }

  /** False: what follows is no field. */
  next(): boolean {
    const tag = this.#varint()
    this.field = Math.floor(tag / 8)
    this.type = tag % 8
    switch (this.type) {
      case VARINT:
        this.number = this.#varint()
        return this.number >= 0
      case FIXED64:
        return this.#take(8) && this.#double()
      case BYTES:
        return this.#take(this.#varint())
      case FIXED32:
        return this.#take(4)
      default:
        return false
    }
  }

  #double(): boolean {
    this.number = this.bytes.readDoubleLE()
    return true
  }

  #take(length: number): boolean {
    const from = this.#at
    if (length < 0 || length > this.#from.length - from) return this.#broken()
    this.#at = from + length
    this.bytes = this.#from.subarray(from, this.#at)
    return true
  }

  /** -1: it has no end. */
  #varint(): number {
    let value = 0
    for (let i = 0; i < VARINT_BYTES && this.#at < this.#from.length; i++) {
      const byte = this.#from[this.#at++]!
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte < 0x80) return value
    }
    this.#broken()
    return -1
  }

  /** It never ends. */
  #broken(): false {
    this.#at = -1
    return false
  }
}
