import { describe, expect, it } from 'vitest'
import { Call } from '../../../src/core/call.ts'
import { inboundCall, serving } from '../../../src/core/context.ts'
import { hedge } from '../../../src/resilience/guard/decorators.ts'
import { type GuardOptions, guard } from '../../../src/resilience/guard/guard.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { KIND } from '../conformance.ts'

/** A guarded function that ends when told to. */
function held(options: Omit<GuardOptions<readonly never[], string>, 'clock'>) {
  const clock = new FakeClock()
  const ends: ((value: string) => void)[] = []
  const work = guard(
    () =>
      new Promise<string>((resolve) => {
        ends.push(resolve)
      }),
    { clock, name: 'quote', ...options },
  )
  const failures: unknown[] = []
  const start = (): Promise<string | undefined> =>
    work().catch((error: { code: string }) => {
      failures.push(error.code)
      return undefined
    })
  return { clock, ends, start, failures }
}

describe('the bulkhead of a function', () => {
  it('lets calls wait in order of arrival, and refuses beyond its queue', async () => {
    const { clock, ends, start, failures } = held({ bulkhead: { concurrency: 1, queue: 2 } })
    const order: string[] = []
    const calls = ['a', 'b', 'c', 'd'].map(async (name) => {
      if ((await start()) !== undefined) order.push(name)
    })
    await clock.settle()
    expect([ends.length, failures]).toEqual([1, ['queue-full']])
    for (let i = 0; i < 3; i++) {
      ends[i]!('done')
      await clock.settle()
    }
    await Promise.all(calls)
    expect(order).toEqual(['a', 'b', 'c'])
    expect(clock.timers).toBe(0)
  })

  it('lets nobody wait beyond the longest wait or its deadline, and the cancelled leave at once', async () => {
    const { clock, ends, start, failures } = held({ bulkhead: { concurrency: 1, queue: 9, maxWait: 100 } })
    const first = start()
    const late = start()
    const inbound = new Call(KIND, 0, 50, undefined)
    const hurried = serving(inbound, () => start())
    const gone = new Call(KIND, 0, 1_000, undefined)
    const cancelled = serving(gone, () => start())
    await clock.settle()
    gone.cancel('client went away')
    await clock.settle()
    expect(failures).toEqual(['cancelled'])
    await clock.settle(60)
    expect(failures).toEqual(['cancelled', 'deadline-exceeded'])
    await clock.settle(60)
    expect(failures).toEqual(['cancelled', 'deadline-exceeded', 'concurrency-limited'])
    ends[0]!('done')
    expect(await first).toBe('done')
    await Promise.all([late, hurried, cancelled])
    expect([ends.length, clock.timers]).toEqual([1, 0])
  })

  it('holds a permit until the function has really ended, also beyond its time limit', async () => {
    const { clock, ends, start, failures } = held({ bulkhead: { concurrency: 1, queue: 1 }, timeout: 100 })
    const first = start()
    await clock.settle(120)
    await first
    expect(failures).toEqual(['deadline-exceeded'])
    const second = start()
    await clock.settle(10)
    expect(ends.length).toBe(1)
    ends[0]!('late')
    await clock.settle(1)
    expect(ends.length).toBe(2)
    ends[1]!('done')
    expect(await second).toBe('done')
    expect(clock.timers).toBe(0)
  })

  it('may find its own limit', async () => {
    const clock = new FakeClock()
    const work = guard(async () => 1, { clock, bulkhead: 'adaptive' })
    expect(await Promise.all(Array.from({ length: 20 }, () => work()))).toHaveLength(20)
    expect(() => guard(work, { bulkhead: { concurrency: 2, queues: 1 } as never })).toThrow(/queues.*'queue'/)
  })
})

describe('the rate of a function', () => {
  it('lets calls wait for their turn, as far as it comes in time', async () => {
    const clock = new FakeClock()
    const at: number[] = []
    const work = guard(async () => at.push(clock.now()), {
      clock,
      rateLimit: { rate: 10, burst: 1, maxWait: 250 },
    })
    const calls = Array.from({ length: 5 }, () => work().catch((error: { code: string }) => error.code))
    await clock.settle(400)
    expect((await Promise.all(calls)).slice(3)).toEqual(['rate-limited', 'rate-limited'])
    expect(at.map((ms) => Math.round(ms))).toEqual([0, 100, 200])
    expect(clock.timers).toBe(0)
  })
})

describe('a hedged function', () => {
  it('runs a second time when it is late; the first success counts and cancels what the other started', async () => {
    const clock = new FakeClock()
    const calls: Call[] = []
    const work = guard(
      () => {
        calls.push(inboundCall()!)
        return calls.length === 1 ? new Promise<string>(() => {}) : Promise.resolve('second')
      },
      { clock, hedge: { after: 50, maxExtraLoad: 1 }, bulkhead: 5 },
    )
    const done = work()
    await clock.settle(49)
    expect(calls.length).toBe(1)
    await clock.settle(2)
    expect(await done).toBe('second')
    expect([calls[0]!.cancelled, calls[1]!.cancelled]).toEqual([true, false])
    expect(clock.timers).toBe(0)
  })

  it('waits for the other execution when one fails, and gives the last error when both do', async () => {
    const clock = new FakeClock()
    const fail = (ms: number, message: string) =>
      new Promise<string>((_, reject) => clock.startTimer(ms, () => reject(new Error(message)), undefined))
    const ends = [() => fail(80, 'late'), () => fail(10, 'soon')]
    let turn = 0
    const work = guard(() => ends[turn++]!(), { clock, hedge: { after: 50, maxExtraLoad: 1 } })
    const done = work()
    done.catch(() => {})
    await clock.settle(100)
    await expect(done).rejects.toThrow('late')
    expect(turn).toBe(2)
    expect(clock.timers).toBe(0)
  })

  it('is repeated when both fail, and ends at its time limit with nothing left behind', async () => {
    const clock = new FakeClock()
    let runs = 0
    const work = guard(
      () => {
        runs += 1
        return runs < 3
          ? new Promise<string>((_, reject) => clock.startTimer(60, () => reject(new Error('no')), undefined))
          : new Promise<string>(() => {})
      },
      { clock, timeout: 500, hedge: { after: 50, maxExtraLoad: 1 }, retry: { attempts: 5, backoff: { base: 0 } } },
    )
    const done = work()
    done.catch(() => {})
    await clock.settle(600, 5)
    await expect(done).rejects.toMatchObject({ code: 'deadline-exceeded' })
    expect(runs).toBe(3)
    expect(clock.timers).toBe(0)
  })

  it('can be had as a decorator', async () => {
    let runs = 0
    const method = async (): Promise<string> => {
      runs += 1
      return runs === 1 ? new Promise<string>(() => {}) : 'second'
    }
    const decorated = (hedge({ after: 5, maxExtraLoad: 1 }) as (m: unknown, c: unknown) => () => Promise<string>)(
      method,
      { kind: 'method', name: 'quote' },
    )
    expect(await decorated()).toBe('second')
  })
})
