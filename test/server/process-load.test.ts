import { describe, expect, it } from 'vitest'
import { readOrca } from '../../src/client/orca/read-orca.ts'
import { ProcessLoad, type ProcessUse } from '../../src/server/process-load.ts'

const LOAD = { inFlight: 3, latencyMs: 12.5, servedMs: 9.8 }

function setUp() {
  let use: ProcessUse = { activeMs: 1_000, idleMs: 5_000, cpuMs: 2_000 }
  const load = new ProcessLoad(() => use, 4)
  const spend = (activeMs: number, idleMs: number, cpuMs: number): void => {
    use = { activeMs: use.activeMs + activeMs, idleMs: use.idleMs + idleMs, cpuMs: use.cpuMs + cpuMs }
  }
  const ended = (good: number, failed: number): void => {
    for (let i = 0; i < good + failed; i++) load.ended(i < failed)
  }
  return { load, spend, ended }
}

describe('the load of a process', () => {
  it('is that of the last second, and is not known before', () => {
    const { load, spend, ended } = setUp()
    ended(1, 0)
    expect(load.text(undefined, 5_000)).toBeUndefined()
    spend(600, 600, 1_200)
    ended(118, 2)
    expect(load.text(undefined, 5_900)).toBeUndefined()
    expect(load.text(undefined, 6_200)).toBe(
      'TEXT application_utilization=0.5,cpu_utilization=0.25,rps_fractional=100,eps=1.6667',
    )
    spend(0, 1_000, 0)
    expect(load.text(undefined, 7_100)).toContain('application_utilization=0.5,')
    expect(load.text(undefined, 7_200)).toBe('TEXT application_utilization=0,cpu_utilization=0,rps_fractional=0,eps=0')
  })

  it('is not known after a silence, over which a mean would say nothing about now', () => {
    const { load, spend } = setUp()
    load.text(undefined, 0)
    spend(500, 500, 0)
    expect(load.binary(undefined, 1_000)).toBeDefined()
    spend(500, 60_000, 0)
    expect(load.binary(undefined, 61_500)).toBeUndefined()
  })

  it('is written with the numbers of the server, and without utilization before it is known', () => {
    const { load, spend, ended } = setUp()
    const named =
      'named_metrics.inmesh.in_flight=3,named_metrics.inmesh.latency_ms=12.5,named_metrics.inmesh.served_ms=9.8'
    expect(load.text(LOAD, 0)).toBe(`TEXT ${named}`)
    spend(500, 500, 0)
    ended(10, 0)
    expect(load.text(LOAD, 1_000)).toBe(
      `TEXT application_utilization=0.5,cpu_utilization=0,rps_fractional=10,eps=0,${named}`,
    )
  })

  it('says the same in both forms', () => {
    const { load, spend, ended } = setUp()
    const both = (now: number, of: typeof LOAD | undefined) => [
      readOrca(load.text(of, now), undefined, 7),
      readOrca(undefined, load.binary(of, now), 7),
    ]
    for (const report of both(0, LOAD)) expect(report).toEqual({ ...LOAD, arrivedAt: 7 })
    spend(250, 750, 0)
    ended(90, 10)
    for (const report of both(1_000, LOAD)) expect(report).toEqual({ ...LOAD, arrivedAt: 7 })
    for (const report of both(1_000, undefined)) expect(report!.capacity).toBeCloseTo(100 / (0.25 + 0.1))
  })

  it('measures this process', async () => {
    const load = new ProcessLoad()
    load.text(undefined, 0)
    await new Promise((resolve) => setTimeout(resolve))
    const used = process.cpuUsage()
    while (process.cpuUsage(used).user < 20_000);
    await new Promise((resolve) => setTimeout(resolve, 5))
    const [application, cpu] = load
      .text(undefined, 1_000)!
      .match(/\d[\d.]*/g)!
      .map(Number) as [number, number]
    expect(application).toBeGreaterThan(0)
    expect(application).toBeLessThanOrEqual(1)
    expect(cpu).toBeGreaterThan(0)
  })
})
