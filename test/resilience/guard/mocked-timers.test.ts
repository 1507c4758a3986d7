import { mock } from 'node:test'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type GuardOptions, guard } from '../../../src/resilience/guard/guard.ts'

afterEach(() => {
  mock.timers.reset()
  vi.useRealTimers()
})

const never = (): Promise<never> => new Promise(() => {})

async function turns(n = 10): Promise<void> {
  for (let i = 0; i < n; i++) await Promise.resolve()
}

function watch(promise: Promise<unknown>): { end: unknown } {
  const watched: { end: unknown } = { end: 'still waiting' }
  promise.then(
    (value) => {
      watched.end = value
    },
    (error: { code?: string }) => {
      watched.end = error.code ?? error
    },
  )
  return watched
}

const FAKES: Record<string, { start(): void; tick(ms: number): void }> = {
  'node:test, with the real monotonic clock': {
    start: () => mock.timers.enable({ apis: ['setTimeout', 'Date'] }),
    tick: (ms) => mock.timers.tick(ms),
  },
  'vitest, timers only': {
    start: () => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] }),
    tick: (ms) => void vi.advanceTimersByTime(ms),
  },
  'vitest, everything': {
    start: () =>
      void vi.useFakeTimers({
        toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
      }),
    tick: (ms) => void vi.advanceTimersByTime(ms),
  },
}

describe.each(Object.entries(FAKES))('under the fake timers of %s', (what, fakes) => {
  it('a timeout is a deadline, with and without retry and hedge', async () => {
    fakes.start()
    const more: GuardOptions[] = [{}, { retry: { attempts: 2 } }, { hedge: { after: '40s' } }, { bulkhead: 1 }]
    for (const options of more) {
      const asked = watch(guard(never, { timeout: '30s', ...(options as object) })())
      await turns()
      fakes.tick(30_000)
      await turns()
      expect(asked.end).toBe('deadline-exceeded')
    }
  })

  it('an attempt ends with its own limit, and the retry goes on', async () => {
    fakes.start()
    let tries = 0
    const work = guard(async () => (++tries === 1 ? never() : 'second'), {
      timeout: '1m',
      retry: { attempts: 2, perTryTimeout: '5s', backoff: { base: 10, max: 10 } },
    })
    const asked = watch(work())
    await turns()
    fakes.tick(5_000)
    await turns(30)
    fakes.tick(10)
    await turns(30)
    expect([asked.end, tries]).toEqual(['second', 2])
  })

  it('a wait for a permit is bounded', async () => {
    fakes.start()
    const work = guard(never, { bulkhead: { concurrency: 1, queue: 1, maxWait: '1s' } })
    void work()
    const asked = watch(work())
    await turns()
    fakes.tick(1_001)
    await turns()
    expect(asked.end).toBe('concurrency-limited')
  })

  it('a wait for a turn is bounded', async () => {
    fakes.start()
    const work = guard(async () => 'ran', { rateLimit: { rate: '6/m', burst: 1, maxWait: '20s' } })
    await work()
    const asked = watch(work())
    await turns()
    fakes.tick(20_001)
    await turns()
    // By the clock, if it moves with the timers.
    expect(asked.end).toBe(what === 'vitest, everything' ? 'ran' : 'rate-limited')
  })
})

it('a breaker made before the clock was faked is not open for as long as the process is old', async () => {
  let failing = true
  const work = guard(
    async () => {
      if (failing) throw new Error('down')
      return 'fine'
    },
    { circuitBreaker: { minimumCalls: 1, resetAfter: '5s' } },
  )
  await expect(work()).rejects.toThrow('down')
  failing = false
  FAKES['vitest, everything']!.start()
  await expect(work()).rejects.toMatchObject({ code: 'circuit-open' })
  vi.advanceTimersByTime(5_000)
  expect(await work()).toBe('fine')
})
