import { AsyncLocalStorage } from 'node:async_hooks'
import { expect, it } from 'vitest'
import {
  type AccessLogTarget,
  isLogging,
  type Line,
  LineWriter,
} from '../../../src/telemetry/access-log/line-writer.ts'
import { Metrics } from '../../../src/telemetry/metrics.ts'

function setUp(target: AccessLogTarget) {
  const metrics = new Metrics()
  const writer = new LineWriter(target, metrics, 'checkout')
  const value = (name: string): number =>
    Number(new RegExp(`^inmesh_access_log_${name} (\\d+)$`, 'm').exec(metrics.text())?.[1] ?? 0)
  const lines = (): number => value('lines_total\\{service="checkout"\\}')
  const dropped = (reason: string): number => value(`dropped_total\\{service="checkout",reason="${reason}"\\}`)
  return { writer, lines, dropped }
}

const line = (number = 0): Line => ({ at: 1_000, failed: false, fields: { number }, within: undefined })
const turn = (): Promise<void> => new Promise(setImmediate)
/** Of a few lines at once, a busy machine leaves some to the next turns. */
async function turns(done: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !done(); i++) await turn()
}

it('writes after the turn of the calls, in their order', async () => {
  const numbers: number[] = []
  const { writer, lines } = setUp((text) => numbers.push(JSON.parse(text).number))
  for (let i = 0; i < 5; i++) writer.add(line(i))
  expect(numbers).toEqual([])
  await turns(() => numbers.length === 5)
  expect(numbers).toEqual([0, 1, 2, 3, 4])
  expect(lines()).toBe(5)
})

it('gives failures to warn and the others to info', async () => {
  const calls: string[] = []
  const { writer } = setUp({
    info: (fields, message) => void calls.push(`info ${fields.number} ${message}`),
    warn: (fields, message) => void calls.push(`warn ${fields.number} ${message}`),
  })
  writer.add({ ...line(1), failed: true })
  writer.add(line(2))
  await turns(() => calls.length === 2)
  expect(calls).toEqual(['warn 1 access', 'info 2 access'])
})

it('lets the loop turn between lines of a slow logger, and drops what it cannot keep up with', async () => {
  let written = 0
  const { writer, lines, dropped } = setUp(() => {
    written += 1
    const until = performance.now() + 6
    while (performance.now() < until);
  })
  for (let i = 0; i < 1_200; i++) writer.add(line(i))
  expect(dropped('queue-full')).toBe(200)
  await turn()
  expect(written).toBe(1)
  await turn()
  expect(written).toBe(2)
  await writer.close()
  expect(lines() + dropped('closed') + dropped('queue-full')).toBe(1_200)
  expect(dropped('closed')).toBeGreaterThan(0)
  writer.add(line())
  expect(lines() + dropped('closed') + dropped('queue-full')).toBe(1_201)
})

it('gives no more to a function whose promises do not settle', async () => {
  let given = 0
  const { writer, dropped } = setUp(() => {
    given += 1
    return new Promise(() => {})
  })
  for (let i = 0; i < 3_000; i++) {
    writer.add(line(i))
    if (i % 100 === 0) await turn()
  }
  await writer.close()
  expect(given).toBeLessThanOrEqual(2_000)
  expect(dropped('queue-full') + dropped('closed')).toBe(3_000 - given)
})

it('goes on after a logger that throws', async () => {
  let given = 0
  const { writer, lines, dropped } = setUp(() => {
    given += 1
    if (given === 1) throw new Error('disk full')
  })
  writer.add(line())
  writer.add(line())
  await turns(() => given === 2)
  expect([lines(), dropped('logger-failed')]).toEqual([1, 1])
})

it('counts what a logger rejects as dropped, and handles the rejection, whatever its form', async () => {
  const reject = (): Promise<never> => Promise.reject(new Error('disk full'))
  for (const target of [reject, { info: reject, warn: reject }]) {
    const { writer, lines, dropped } = setUp(target)
    writer.add(line())
    writer.add({ ...line(), failed: true })
    await writer.close()
    expect([lines(), dropped('logger-failed')]).toEqual([0, 2])
  }
})

it('waits at its end for the promises of the logger', async () => {
  let settled = 0
  const { writer, lines } = setUp(async () => {
    for (let i = 0; i < 20; i++) await turn()
    settled += 1
  })
  writer.add(line())
  writer.add(line())
  await writer.close()
  expect([settled, lines()]).toEqual([2, 2])
})

it('knows its logger, and what that has begun', async () => {
  const found: boolean[] = []
  const { writer } = setUp(async () => {
    found.push(isLogging())
    await turn()
    found.push(isLogging())
  })
  writer.add(line())
  await writer.close()
  expect([...found, isLogging()]).toEqual([true, true, false])
})

it('runs the logger in no async context', async () => {
  const storage = new AsyncLocalStorage<string>()
  const stores: (string | undefined)[] = []
  const { writer } = setUp(() => void stores.push(storage.getStore()))
  storage.run('of a call', () => writer.add(line()))
  await turn()
  expect(stores).toEqual([undefined])
})
