import { afterEach, beforeEach, expect, test } from 'vitest'
import { LONG_MS, RegistryAbsence } from '../../src/mesh/registry-absence.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const REGISTRIES = ['https://a.test', 'https://b.test']
const LOST = 'no registry has answered for 30 s (https://a.test, https://b.test): calls go on with what is known'

let said: string[]
let clock: FakeClock
let absence: RegistryAbsence
const note = (warning: Error & { code?: string }): unknown =>
  warning.code === 'INMESH_NO_REGISTRY' && said.push(warning.message)

beforeEach(() => {
  said = []
  clock = new FakeClock()
  absence = new RegistryAbsence(clock, REGISTRIES)
  process.on('warning', note)
})

afterEach(() => {
  process.off('warning', note)
})

/** Node emits warnings a turn later. */
async function warnings(): Promise<readonly string[]> {
  await new Promise((resolve) => setImmediate(resolve))
  return said
}

test('a registry that restarts is no news', async () => {
  for (let i = 0; i < 100; i++) {
    absence.begins()
    clock.advance(LONG_MS - 1)
    absence.ends()
  }
  expect(await warnings()).toEqual([])
  expect(clock.timers).toBe(0)
})

test('a long absence is said once, and its end, too', async () => {
  absence.begins()
  clock.advance(10_000)
  // Another address of the list was lost, too.
  absence.begins()
  clock.advance(LONG_MS)
  absence.begins()
  clock.advance(10 * LONG_MS)
  expect(await warnings()).toEqual([LOST])
  absence.ends()
  absence.ends()
  expect(await warnings()).toEqual([LOST, 'a registry answers again, after 340 s'])
})

test('a process that started without one says when one answers', async () => {
  absence.startsWithout('with what is on disk')
  absence.begins()
  clock.advance(95_000)
  absence.ends()
  expect(await warnings()).toEqual([
    'no registry answers (https://a.test, https://b.test): this process starts with what is on disk',
    'a registry answers again, after 95 s',
  ])
})

test('a mesh that is closed says nothing', async () => {
  absence.begins()
  absence.close()
  clock.advance(2 * LONG_MS)
  expect(await warnings()).toEqual([])
})
