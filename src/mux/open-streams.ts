/**
 * The open streams of a session by number. A Map would keep closed ones until a major collection:
 * in V8 each table that it outgrows refers to the next, so an old one keeps all later ones.
 */
import type { MuxStream } from './stream.ts'

const FIRST_BUCKETS = 16

/** A hash table whose entries are linked through the streams themselves. */
export class OpenStreams implements Iterable<MuxStream> {
  size = 0
  #buckets = newBuckets(FIRST_BUCKETS)

  get(id: number): MuxStream | undefined {
    let stream = this.#buckets[this.#bucketOf(id)]
    while (stream !== undefined && stream.id !== id) stream = stream.link
    return stream
  }

  /** `stream` is new. */
  add(stream: MuxStream): void {
    if (this.size >= this.#buckets.length) this.#grow()
    this.#link(stream)
    this.size += 1
  }

  delete(stream: MuxStream): void {
    const bucket = this.#bucketOf(stream.id)
    let before: MuxStream | undefined
    let each = this.#buckets[bucket]
    while (each !== undefined && each !== stream) {
      before = each
      each = each.link
    }
    if (each === undefined) return
    if (before === undefined) this.#buckets[bucket] = stream.link
    else before.link = stream.link
    stream.link = undefined
    this.size -= 1
  }

  /** The present ones, oldest first. */
  [Symbol.iterator](): IterableIterator<MuxStream> {
    const all: MuxStream[] = []
    for (const first of this.#buckets) {
      for (let stream = first; stream !== undefined; stream = stream.link) all.push(stream)
    }
    return all.sort((a, b) => a.id - b.id).values()
  }

  /** Numbers follow each other. */
  #bucketOf(id: number): number {
    return id & (this.#buckets.length - 1)
  }

  #link(stream: MuxStream): void {
    const bucket = this.#bucketOf(stream.id)
    stream.link = this.#buckets[bucket]
    this.#buckets[bucket] = stream
  }

  #grow(): void {
    const all = [...this]
    this.#buckets.fill(undefined)
    this.#buckets = newBuckets(this.#buckets.length * 2)
    for (const stream of all) this.#link(stream)
  }
}

function newBuckets(count: number): (MuxStream | undefined)[] {
  return new Array<MuxStream | undefined>(count).fill(undefined)
}
