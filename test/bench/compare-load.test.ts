/** The load of `npm run compare`: what it counts must be what those who ask have to wait. */
import { describe, expect, it } from 'vitest'
import { dueAfterMs, isPost, OpenLoop, type Sent } from '../../bench/compare/load/open-loop.ts'
import { percentile, spread } from '../../bench/compare/statistics.ts'

const JOB = { perSecond: 100, postShare: 0.1, prefix: 'x' }

describe('compare: the load', () => {
  it('counts latency from when a request was due, so that a stall is as long as it was for all who asked during it', async () => {
    let now = 0
    const loop = new OpenLoop(
      JOB,
      0,
      () => now,
      async () => ({}),
    )
    // The server stands still for a second; the requests that were due meanwhile are all sent and
    // answered at its end.
    now = 1_000
    for (let n = 0; n < 100; n++) loop.send(n)
    const { latenciesMs } = await loop.settled()
    expect(latenciesMs).toHaveLength(100)
    expect(latenciesMs[0]).toBe(1_000)
    expect(latenciesMs[99]).toBe(10)
    expect(percentile(latenciesMs, 0.5)).toBe(500)
  })

  it('does not wait for earlier answers before it sends', async () => {
    const answers: ((sent: Sent) => void)[] = []
    const loop = new OpenLoop(
      JOB,
      0,
      () => 0,
      () => new Promise((resolve) => answers.push(resolve)),
    )
    for (let n = 0; n < 5; n++) loop.send(n)
    expect(answers).toHaveLength(5)
    for (const answer of answers) answer({})
    expect((await loop.settled()).latenciesMs).toHaveLength(5)
  })

  it('counts failures by kind of request and by what was said', async () => {
    const sent: string[] = []
    const loop = new OpenLoop(
      { ...JOB, postShare: 0.5 },
      0,
      () => 0,
      async (method, id) => {
        sent.push(`${method} ${id}`)
        return method === 'POST' ? { failure: '503' } : {}
      },
    )
    for (let n = 0; n < 4; n++) loop.send(n)
    const result = await loop.settled()
    expect(sent).toEqual(['GET x-g0', 'POST x-p1', 'GET x-g2', 'POST x-p3'])
    expect(result.gets).toEqual({ requests: 2, failed: 0 })
    expect(result.posts).toEqual({ requests: 2, failed: 2 })
    expect(result.failures).toEqual({ '503': 2 })
  })

  it('spreads POSTs evenly and sends exactly the share that was asked for', () => {
    const posts = Array.from({ length: 1_000 }, (_, n) => isPost(n, 0.1))
    expect(posts.filter(Boolean)).toHaveLength(100)
    expect(posts.slice(500, 510).filter(Boolean)).toHaveLength(1)
    expect(isPost(3, 0)).toBe(false)
    expect(isPost(3, 1)).toBe(true)
  })

  it('keeps the rate over hours without drifting', () => {
    expect(dueAfterMs(3 * 3_600_000, 3_000)).toBe(3_600_000)
  })
})

describe('compare: percentiles and spreads', () => {
  it('take the nearest rank, as they are commonly read', () => {
    const hundred = Array.from({ length: 100 }, (_, i) => 100 - i)
    expect(percentile(hundred, 0.5)).toBe(50)
    expect(percentile(hundred, 0.99)).toBe(99)
    expect(percentile(hundred, 1)).toBe(100)
    expect(percentile([7], 0.01)).toBe(7)
    expect(percentile([], 0.5)).toBeNaN()
  })

  it('sort as numbers, and leave the values as they were', () => {
    const values = [10, 9, 100]
    expect(percentile(values, 0.5)).toBe(10)
    expect(values).toEqual([10, 9, 100])
  })

  it('give the median of an even number as the mean of the two in the middle', () => {
    expect(spread([4, 1, 3, 2]).median).toBe(2.5)
    expect(spread([3, 1, 2]).median).toBe(2)
  })

  it('say where the middle half lies, whatever the extremes are', () => {
    expect(spread([1_000, 2, 3, 4, 5, 6, 7, -1_000])).toEqual({ median: 4.5, low: 2, high: 6 })
  })
})
