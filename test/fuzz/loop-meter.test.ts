import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import type { LoopReport } from './loop-meter.ts'

/** Runs `script` beside a meter, and returns what the meter reports. */
function measured(script: string): LoopReport {
  const source = `
    import { LoopMeter } from ${JSON.stringify(new URL('loop-meter.ts', import.meta.url).href)}
    const meter = new LoopMeter()
    await meter.report()
    const spend = (ms) => {
      const used = process.threadCpuUsage()
      for (let spent = 0; spent < ms * 1_000; ) {
        const { user, system } = process.threadCpuUsage(used)
        spent = user + system
      }
    }
    await new Promise((resolve) => { ${script} })
    console.log(JSON.stringify(await meter.report()))
    process.exit()`
  const args = ['--expose-gc', '--input-type=module', '--eval', source]
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as LoopReport
}

test('a callback counts with its ticks and microtasks', () => {
  const report = measured(`setTimeout(() => {
    spend(40)
    process.nextTick(() => spend(40))
    Promise.resolve().then(() => { spend(40); resolve() })
  }, 1)`)
  // A collection may fall within it.
  expect(report.callbackMs).toBeGreaterThanOrEqual(90)
  expect(report.callbackOf).toBe('Timeout')
})

test('callbacks of one turn count one by one, and the turn as their sum', () => {
  const script = 'for (let i = 0; i < 4; i++) setImmediate(() => { spend(60); if (i === 3) resolve() })'
  let report = measured(script)
  // A virtual machine that was stopped counts the pause as work.
  for (let again = 0; again < 2 && report.callbackMs >= 180; again++) report = measured(script)
  expect(report.callbackMs).toBeGreaterThanOrEqual(50)
  expect(report.callbackMs).toBeLessThan(180)
  expect(report.turnMs).toBeGreaterThanOrEqual(190)
})

test('a garbage collection is no part of the callback that it interrupts', () => {
  const report = measured(`setTimeout(() => {
    const kept = Array.from({ length: 400_000 }, (_, i) => ({ i, text: [i] }))
    for (let i = 0; i < 10; i++) gc()
    resolve(kept)
  }, 1)`)
  expect(report.gcMs).toBeGreaterThan(0)
  expect(report.majorGcs).toBeGreaterThanOrEqual(10)
  expect(report.callbackMs).toBeLessThan(report.blockedMs)
})
