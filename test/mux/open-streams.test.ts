import { describe, expect, it } from 'vitest'
import { OpenStreams } from '../../src/mux/open-streams.ts'
import { MuxStream, type StreamHost, UNOWNED } from '../../src/mux/stream.ts'

const streamOf = (id: number): MuxStream => new MuxStream({} as StreamHost, id, UNOWNED, 0, 0)

describe('the open streams of a session', () => {
  it('are found by number until they are deleted, as in a Map', () => {
    const streams = new OpenStreams()
    const model = new Map<number, MuxStream>()
    let seed = 1
    const random = (below: number): number => {
      seed = (seed * 48_271) % 0x7fffffff
      return seed % below
    }
    let id = 0
    for (let step = 0; step < 20_000; step++) {
      if (random(1_000) < (step < 10_000 ? 520 : 480)) {
        // Some numbers are skipped, also by whole turns of the table.
        id += random(10) === 0 ? 64 : 1
        const stream = streamOf(id)
        streams.add(stream)
        model.set(id, stream)
      } else if (model.size > 0) {
        const gone = [...model.values()][random(model.size)]!
        streams.delete(gone)
        model.delete(gone.id)
        expect(streams.get(gone.id)).toBeUndefined()
        expect(gone.link).toBeUndefined()
      }
      const asked = random(id + 2)
      expect(streams.get(asked)).toBe(model.get(asked))
      expect(streams.size).toBe(model.size)
    }
    expect([...streams]).toEqual([...model.values()])
  })

  it('ignore a stream that is deleted twice', () => {
    const streams = new OpenStreams()
    const [first, second] = [streamOf(1), streamOf(2)]
    streams.add(first)
    streams.add(second)
    streams.delete(first)
    streams.delete(first)
    expect([...streams]).toEqual([second])
  })

  it('are listed as they were, oldest first, while some are deleted', () => {
    const streams = new OpenStreams()
    for (let id = 1; id <= 100; id++) streams.add(streamOf(id))
    const seen: number[] = []
    for (const stream of streams) {
      seen.push(stream.id)
      streams.delete(stream)
    }
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => i + 1))
    expect(streams.size).toBe(0)
  })
})
