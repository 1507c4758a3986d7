/** What the bench of real processes counts, from logs whose answers can be counted by hand. */
import { describe, expect, it } from 'vitest'
import { measuresOf, recoveryOf, type Sent, type ServerLog } from '../../bench/real-fleet/measures.ts'
import { disorder, mean } from '../../bench/real-fleet/report.ts'
import { WorkQueue } from '../../bench/real-fleet/work-queue.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

/** [arrived, began or `null`, ended] */
type Line = readonly [number, number | null, number]

const log = (lines: readonly Line[], workers = 1, speed = 1): ServerLog => ({
  workers,
  speed,
  served: lines.map(([arrivedAt, beganAt, endedAt]) => ({ sentAt: arrivedAt, arrivedAt, beganAt, endedAt })),
})

const ALWAYS = [0, 1_000] as const

describe('bench of real processes: who waited', () => {
  it('counts a request that no worker was free for, and those that had to leave before it could begin', () => {
    const busy = log([
      [0, 0, 30],
      [10, 30, 60],
      [20, 60, 90],
    ])
    expect(measuresOf([busy], ...ALWAYS)).toMatchObject({ calls: 3, waited: 2 / 3, ahead: (1 + 2) / 3, waitMs: 20 })
  })

  it('does not count a wait while every worker elsewhere was busy as misplaced', () => {
    const one = log([
      [0, 0, 100],
      [10, 100, 200],
    ])
    const other = log([[5, 5, 50]])
    expect(measuresOf([one, other], ...ALWAYS)).toMatchObject({ waited: 1 / 3, misplaced: 0 })
    expect(measuresOf([one, log([[20, 20, 50]])], ...ALWAYS)).toMatchObject({ waited: 1 / 3, misplaced: 1 / 3 })
  })

  it('knows that a server with several workers is idle while one of them is', () => {
    const full = log([
      [0, 0, 100],
      [10, 100, 200],
    ])
    const half = log([[1, 1, 100]], 2)
    expect(measuresOf([full, half], ...ALWAYS).misplaced).toBe(1 / 3)
    const two = log(
      [
        [1, 1, 100],
        [2, 2, 100],
      ],
      2,
    )
    expect(measuresOf([full, two], ...ALWAYS).misplaced).toBe(0)
  })

  it('lets go of a place in the instant in which it becomes free', () => {
    const handed = log([
      [0, 0, 10],
      [10, 10, 20],
    ])
    expect(measuresOf([handed], ...ALWAYS).waited).toBe(0)
  })

  it('takes a request that left unserved out of the queue, at any instant', () => {
    const left = log([
      [0, 0, 100],
      [10, null, 20],
      [15, null, 15],
      [30, 100, 200],
    ])
    expect(measuresOf([left], ...ALWAYS).ahead).toBe((1 + 2 + 1) / 4)
  })

  it('leaves out what arrived before and after, which is in the way all the same', () => {
    const long = log([
      [0, 0, 100],
      [50, 100, 150],
      [120, 150, 200],
    ])
    expect(measuresOf([long], 40, 60)).toMatchObject({ calls: 1, waited: 1, ahead: 1, waitMs: 50 })
  })

  it('compares what slower servers get with what they can do', () => {
    const fast = log([
      [0, 0, 10],
      [10, 10, 20],
    ])
    const slow = log([[0, 0, 20]], 1, 0.5)
    expect(measuresOf([fast, slow], ...ALWAYS).slowerShare).toBeCloseTo(1)
    expect(measuresOf([fast, log([], 1, 0.5)], ...ALWAYS).slowerShare).toBe(0)
    expect(measuresOf([fast, fast], ...ALWAYS).slowerShare).toBe(1)
  })
})

describe('bench of real processes: after an outage', () => {
  const sent = (begunAt: number, endedAt: number, good: boolean): Sent => ({ begunAt, endedAt, good })

  it("counts failures from each client's first answer to a call that it began since the return", () => {
    const one = [
      sent(50, 150, true), // begun before the return at 100, so no sign that the way is open
      sent(110, 120, false),
      sent(120, 160, true),
      sent(155, 165, false), // begun before the first answer was there
      sent(170, 180, false),
      sent(190, 195, true),
    ]
    const other = [sent(20, 60, false), sent(101, 105, true)]
    const server: ServerLog = {
      ...{ workers: 1, speed: 1 },
      served: [
        { sentAt: 50, arrivedAt: 101, beganAt: 101, endedAt: 102 },
        { sentAt: 120, arrivedAt: 121, beganAt: 121, endedAt: 122 },
      ],
    }
    expect(recoveryOf({ clients: [one, other], servers: [server] }, 100)).toEqual({
      ...{ failedDuring: 1, failedBefore: 2, firstAnswerMs: 60, after: 2, failedAfter: 1, allUsedMs: 21 },
    })
  })

  it('has no end for a server that is never used again', () => {
    expect(recoveryOf({ clients: [[sent(110, 120, true)]], servers: [log([[10, 10, 20]])] }, 100).allUsedMs).toBe(
      Number.POSITIVE_INFINITY,
    )
  })
})

describe('bench of real processes: order of balancers', () => {
  const wait = (waitMs: number) => ({ ...measuresOf([log([[0, 0, 1]])], ...ALWAYS), waitMs })

  it('counts pairs that are clearly predicted and found the other way round', () => {
    const predicted = [wait(100), wait(50), wait(48)]
    expect(disorder('waitMs', predicted, [[wait(90)], [wait(60)], [wait(70)]])).toEqual({ pairs: 2, wrong: 0 })
    expect(disorder('waitMs', predicted, [[wait(60)], [wait(50)], [wait(70)]])).toEqual({ pairs: 2, wrong: 1 })
  })

  it('judges by the mean of all runs', () => {
    expect(mean([wait(10), wait(30)]).waitMs).toBe(20)
    expect(disorder('waitMs', [wait(100), wait(50)], [[wait(90)], [wait(100), wait(20)]]).wrong).toBe(0)
  })
})

describe('bench of real processes: the queue', () => {
  it('serves in order with all workers, and drops who leaves while waiting', () => {
    const clock = new FakeClock()
    const queue = new WorkQueue({
      workers: 2,
      workMs: () => 10,
      now: () => clock.now(),
      startTimer: (ms, fire) => clock.startTimer(ms, fire, undefined),
    })
    const done: number[] = []
    const leave = [0, 1, 2, 3, 4].map((i) => queue.push(0, () => done.push(i)))
    clock.advance(5)
    leave[0]!() // its work goes on
    leave[2]!()
    leave[2]!()
    clock.advance(100)
    expect(done).toEqual([0, 1, 3, 4])
    expect(queue.log.map(({ beganAt, endedAt }) => [beganAt, endedAt])).toEqual([
      [0, 10],
      [0, 10],
      [null, 5],
      [10, 20],
      [10, 20],
    ])
    expect(measuresOf([{ workers: 2, speed: 1, served: queue.log }], ...ALWAYS).ahead).toBe((1 + 2 + 3) / 5)
  })
})
