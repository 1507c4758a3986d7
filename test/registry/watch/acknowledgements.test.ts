import { expect, test } from 'vitest'
import { Acknowledgements, type Acknowledging } from '../../../src/registry/watch/acknowledgements.ts'

function watcher(process?: string): Acknowledging {
  return { acknowledges: true, process, acknowledged: 0 }
}

test('a watcher whose connection broke is waited for until its process has come back and acknowledged', () => {
  const acknowledgements = new Acknowledgements()
  const [before, during] = [watcher('client-1'), watcher('client-2')]
  const seen: number[] = []
  acknowledgements.lose(before, 15_000)
  acknowledgements.wait([during], 7, 100, (total) => seen.push(total))
  acknowledgements.lose(during, 15_100)
  acknowledgements.acknowledge(watcher('client-1'), 7)
  acknowledgements.acknowledge(watcher('client-2'), 6)
  expect(seen).toEqual([])
  acknowledgements.acknowledge(watcher('client-2'), 8)
  expect(seen).toEqual([1])
})

test('a watcher that leaves is not waited for, also if its connection broke before', () => {
  const acknowledgements = new Acknowledgements()
  const seen: string[] = []
  acknowledgements.lose(watcher('client-1'), 15_000)
  const there = watcher('client-2')
  acknowledgements.wait([there], 7, 100, () => seen.push('first'))
  acknowledgements.leave(there)
  expect(seen).toEqual([])
  acknowledgements.leave(watcher('client-1'))
  expect(seen).toEqual(['first'])
  acknowledgements.wait([], 8, 100, () => seen.push('second'))
  expect(seen).toEqual(['first', 'second'])
})

test('a watcher that does not come back in its time is waited for no longer, and one without a process not at all', () => {
  const acknowledgements = new Acknowledgements()
  const seen: string[] = []
  acknowledgements.lose(watcher('client-1'), 15_000)
  acknowledgements.lose(watcher(), 15_000)
  acknowledgements.wait([], 7, 14_999, () => seen.push('too early'))
  acknowledgements.wait([], 7, 15_000, () => seen.push('in time'))
  expect(seen).toEqual(['in time'])
})

test('an old connection that ends late does not hide the new one of its process', () => {
  const acknowledgements = new Acknowledgements()
  const there = watcher('client-1')
  const seen: number[] = []
  acknowledgements.acknowledge(there, 7)
  acknowledgements.lose(watcher('client-1'), 15_000)
  acknowledgements.wait([there], 7, 100, (total) => seen.push(total))
  expect(seen).toEqual([1])
})
