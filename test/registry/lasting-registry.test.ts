import { expect, test } from 'vitest'
import { LastingRegistry } from '../../src/registry/lasting-registry.ts'
import { SILENT_LOG } from '../../src/registry/log.ts'
import type { Registry } from '../../src/registry/running-registry.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

interface Run {
  readonly port: number | undefined
  readonly over: () => void
  closed: boolean
}

/** `fails`: which of the starts do. */
function setUp(fails: readonly number[] = []) {
  const clock = new FakeClock()
  const runs: Run[] = []
  const begin = async (port: number | undefined, over: () => void): Promise<Registry> => {
    const run: Run = { port, over, closed: false }
    runs.push(run)
    if (fails.includes(runs.length)) throw new Error('etcd is away')
    return {
      port: 7_400,
      epoch: String(runs.length),
      close: async () => {
        run.closed = true
      },
    } as unknown as Registry
  }
  return { clock, runs, start: () => LastingRegistry.start(begin, clock, SILENT_LOG) }
}

test('a registry whose store begins another history is closed, and one on its port takes its place', async () => {
  const { runs, start } = setUp()
  const registry = await start()
  expect(registry.epoch).toBe('1')
  runs[0]!.over()
  await expect.poll(() => registry.epoch).toBe('2')
  expect(runs.map(({ port, closed }) => [port, closed])).toEqual([
    [undefined, true],
    [7_400, false],
  ])
  await registry.close()
  expect(runs[1]!.closed).toBe(true)
})

test('it begins anew again and again, until the store can be used', async () => {
  const { clock, runs, start } = setUp([2, 3])
  const registry = await start()
  runs[0]!.over()
  await expect
    .poll(() => {
      clock.advance(1_000)
      return registry.epoch
    })
    .toBe('4')
  await registry.close()
  expect(clock.timers).toBe(0)
})

test('a first start that fails is the error of the start; one that was closed begins no more', async () => {
  await expect(setUp([1]).start()).rejects.toThrow('etcd is away')
  const { runs, start } = setUp()
  const registry = await start()
  runs[0]!.over()
  await registry.close()
  runs.at(-1)!.over()
  await new Promise((resolve) => setImmediate(resolve))
  expect(runs.at(-1)!.closed).toBe(true)
  expect(runs.length).toBeLessThan(3)
})
