/** Streams of the graph to readers that keep up, and to one that does not. */
import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import type { OutgoingResponse } from '../../../src/registry/api/request.ts'
import { GraphStreams } from '../../../src/registry/traffic/streams.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

/** Takes nothing off its socket while it is stuck. */
class Reader extends EventEmitter {
  destroyed = false
  writableEnded = false
  writableLength = 0
  isStuck = false
  readonly written: string[] = []

  writeHead(): void {}
  flushHeaders(): void {}

  write(text: string): void {
    this.written.push(text)
    if (this.isStuck) this.writableLength += text.length
  }

  end(): void {
    this.writableEnded = true
    this.emit('close')
  }

  destroy(): void {
    this.destroyed = true
    this.emit('close')
  }
}

function open(streams: GraphStreams, name: string, windowMs = 60_000): Reader {
  const reader = new Reader()
  streams.open(reader as unknown as OutgoingResponse, name, windowMs)
  return reader
}

test('all readers of a window get the same event, and its graph is made once', async () => {
  const clock = new FakeClock()
  const asked: number[] = []
  const streams = new GraphStreams(
    clock,
    async (windowMs) => {
      asked.push(windowMs)
      return { windowMs }
    },
    () => {},
  )
  const readers = [open(streams, 'a'), open(streams, 'b'), open(streams, 'c', 10_000)]
  await clock.settle()
  asked.length = 0
  await clock.settle(5_000, 1_000)
  expect(asked).toEqual([60_000, 10_000])
  const [a, b, c] = readers.map(({ written }) => written)
  expect(a).toEqual(Array(2).fill('event: graph\ndata: {"windowMs":60000}\n\n'))
  expect(b).toEqual(a)
  expect(c!.at(-1)).toBe('event: graph\ndata: {"windowMs":10000}\n\n')
  for (const reader of readers) reader.destroy()
  await clock.settle(10_000, 1_000)
  expect([asked.length, streams.size, clock.timers]).toEqual([2, 0, 0])
})

test('a reader that takes nothing misses events, and is dropped; others go on', async () => {
  const clock = new FakeClock()
  const streams = new GraphStreams(
    clock,
    async () => 'x'.repeat(600_000),
    () => {},
  )
  const [stuck, other] = [open(streams, 'a'), open(streams, 'b')]
  await clock.settle()
  stuck.isStuck = true
  await clock.settle(15_000, 1_000)
  expect(stuck.written.length).toBe(3)
  await clock.settle(15_000, 1_000)
  expect([stuck.destroyed, streams.size]).toEqual([true, 1])
  expect(other.written.length).toBe(7)
  streams.close()
  expect([other.writableEnded, clock.timers]).toEqual([true, 0])
})

test('a question that fails is a comment, and the stream goes on', async () => {
  const clock = new FakeClock()
  const failures: unknown[] = []
  const streams = new GraphStreams(
    clock,
    () => Promise.reject(new Error('no')),
    (error) => failures.push(error),
  )
  const reader = open(streams, 'a')
  await clock.settle(5_000, 1_000)
  expect(reader.written).toEqual([': no answer\n\n', ': no answer\n\n'])
  expect(failures).toHaveLength(2)
  streams.close()
})

test('an operator watches a few windows at once, each with as many streams as one may have', async () => {
  const clock = new FakeClock()
  const streams = new GraphStreams(
    clock,
    async () => ({}),
    () => {},
  )
  for (const windowMs of [5_000, 10_000, 15_000, 20_000, 20_000]) open(streams, 'a', windowMs)
  expect(() => open(streams, 'a', 25_000)).toThrow(/4 different windows/)
  open(streams, 'b', 25_000)
  expect(streams.size).toBe(6)
  streams.close()
})

test('graphs that take longer than their interval never pile up', async () => {
  const clock = new FakeClock()
  const waiting: (() => void)[] = []
  const streams = new GraphStreams(
    clock,
    () => new Promise((resolve) => waiting.push(() => resolve({}))),
    () => {},
  )
  const reader = open(streams, 'a')
  await clock.settle()
  waiting.shift()!()
  await clock.settle(60_000, 1_000)
  expect(waiting).toHaveLength(1)
  waiting.shift()!()
  await clock.settle(5_000, 1_000)
  expect([waiting.length, reader.written.length]).toEqual([1, 2])
  streams.close()
})

test('a change is an event soon, many are one, and without readers none', async () => {
  const clock = new FakeClock()
  let asked = 0
  const streams = new GraphStreams(
    clock,
    async () => {
      asked += 1
      return {}
    },
    () => {},
  )
  streams.changed()
  expect(clock.timers).toBe(0)
  const reader = open(streams, 'a')
  await clock.settle(3_000, 1_000)
  expect(asked).toBe(1)
  for (let i = 0; i < 100; i++) streams.changed()
  await clock.settle(250, 250)
  expect(asked).toBe(2)
  // Not more often than every 2 s, however much changes.
  for (let ms = 0; ms < 10_000; ms += 100) {
    streams.changed()
    await clock.settle(100, 100)
  }
  expect(asked).toBe(7)
  await clock.settle(10_000, 1_000)
  expect([asked, reader.written.length]).toEqual([9, 9])
  streams.close()
  expect(clock.timers).toBe(0)
})
