/** Merges packed records, so that each series has one. */
import { RecordReader, RecordWriter } from './records.ts'
import { Totals } from './totals.ts'

/** Records between two pauses: about 2 ms. */
const PORTION = 2_000

/** Yields now and then, so that its caller can let the event loop turn. */
export function* compact(chunks: readonly Buffer[]): Generator<void, Buffer, void> {
  const readers = chunks.map((chunk) => new RecordReader(chunk))
  /** By series, its records: the number of the chunk and the position in it. */
  const places = new Map<number, number[]>()
  let records = 0
  for (const [i, reader] of readers.entries()) {
    while (reader.next()) {
      const of = places.get(reader.series)
      if (of === undefined) places.set(reader.series, [i, reader.position])
      else of.push(i, reader.position)
      reader.skip()
      records += 1
      if (records % PORTION === 0) yield
    }
  }
  const writer = new RecordWriter(chunks.reduce((sum, { length }) => sum + length, 0) / 2)
  const totals = new Totals()
  for (const [series, of] of places) {
    for (let i = 0; i < of.length; i += 2) {
      const reader = readers[of[i]!]!
      reader.seek(of[i + 1]!)
      reader.addTo(totals)
      records -= 1
      if (records % PORTION === 0) yield
    }
    writer.write(series, totals)
    totals.clear()
  }
  return writer.take()
}
