import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Clock, systemClock } from '../../../src/core/clock.ts'
import { guard } from '../../../src/resilience/guard/guard.ts'
import { circuits, type OpossumCircuit } from '../../../src/resilience/opossum-circuit.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

const unhandled: unknown[] = []
const note = (error: unknown): void => void unhandled.push(error)

beforeEach(() => {
  unhandled.length = 0
  process.on('unhandledRejection', note)
  process.on('uncaughtException', note)
})
afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', note)
  process.off('uncaughtException', note)
  expect(unhandled).toEqual([])
})

function circuitOf(name: string): OpossumCircuit {
  return circuits().find((circuit) => circuit.name === name)!
}

const POLICIES = {
  alone: {},
  retry: { retry: { attempts: 3, backoff: { base: 0 } } },
  timeout: { timeout: '10s' },
  bulkhead: { bulkhead: 1 },
  queue: { bulkhead: { concurrency: 1, queue: 10 } },
  breaker: { circuitBreaker: { minimumCalls: 1 } },
  hedge: { hedge: { after: '1s' } },
  collapse: { collapse: true },
} as const

describe('an isFailure that throws', () => {
  const thrown = new TypeError("Cannot read properties of undefined (reading 'status')")
  const isFailure = (): boolean => {
    throw thrown
  }
  const down = async (): Promise<never> => {
    throw new Error('down')
  }
  const downAtOnce = (): Promise<never> => {
    throw new Error('down')
  }

  it.each(Object.entries(POLICIES))('ends its call once and holds nothing: %s', async (_what, options) => {
    for (const work of [down, downAtOnce]) {
      const ran = vi.fn(work)
      const guarded = guard(ran, { ...options, isFailure, name: 'quote' })
      for (let i = 0; i < 3; i++) {
        await expect(guarded()).rejects.toMatchObject({ code: 'function-failed', service: 'quote', cause: thrown })
      }
      expect(ran).toHaveBeenCalledTimes(3)
    }
  })

  it('is refused if it answers with a promise, whatever that becomes', async () => {
    const guarded = guard(down, { isFailure: (async () => Promise.reject(thrown)) as never })
    await expect(guarded()).rejects.toMatchObject({ code: 'function-failed', cause: expect.any(TypeError) })
  })

  it('leaves the last word to the fallback', async () => {
    expect(await guard(down, { isFailure, fallback: (error) => (error as Error).cause })()).toBe(thrown)
  })
})

describe('an isFailure that answers with something else', () => {
  const tries = async (answer: unknown): Promise<number> => {
    let ran = 0
    const guarded = guard(
      async () => {
        ran += 1
        throw new Error('down')
      },
      { retry: { attempts: 2, backoff: { base: 1, max: 1 } }, isFailure: (() => answer) as () => boolean },
    )
    await expect(guarded()).rejects.toThrow('down')
    return ran
  }

  it('says no by what is falsy', async () => {
    for (const answer of [false, null, 0, '', Number.NaN]) expect([answer, await tries(answer)]).toEqual([answer, 1])
  })

  it('says yes by anything else, and by a forgotten return', async () => {
    for (const answer of [true, 1, 'yes', {}, undefined]) expect([answer, await tries(answer)]).toEqual([answer, 2])
  })
})

describe('a key that throws', () => {
  it('ends its call, and the function does not run', async () => {
    const thrown = new Error('no sku')
    const ran = vi.fn(async () => 1)
    const key = (): never => {
      throw thrown
    }
    await expect(guard(ran, { cache: '1m', key })()).rejects.toMatchObject({ cause: thrown, sent: false })
    await expect(guard(ran, { cache: '1m', key: (async () => 'a') as never })()).rejects.toMatchObject({
      cause: expect.objectContaining({ message: expect.stringContaining('promise') }),
    })
    await expect(guard(ran, { cache: '1m', key: (() => 5) as never })()).rejects.toMatchObject({
      cause: expect.objectContaining({ message: expect.stringContaining('expected a text or undefined, got 5') }),
    })
    expect(ran).not.toHaveBeenCalled()
  })
})

describe('what a function may return and throw', () => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  const native = (change: (promise: Promise<unknown>) => void): Promise<unknown> => {
    const promise = Promise.resolve('fine')
    change(promise)
    return promise
  }
  const ODD: Record<string, [() => unknown, { value?: unknown; error?: unknown }]> = {
    'rejects with undefined': [() => Promise.reject(undefined), { error: undefined }],
    'throws null at once': [
      () => {
        throw null
      },
      { error: null },
    ],
    'rejects with a revoked Proxy': [() => Promise.reject(proxy), { error: proxy }],
    'returns a thenable': [() => ({ then: (done: (value: string) => void) => done('fine') }), { value: 'fine' }],
    'returns a thenable that throws after it resolved': [
      () => ({
        then(done: (value: string) => void) {
          done('fine')
          throw new Error('late')
        },
      }),
      { value: 'fine' },
    ],
    'returns a thenable that settles twice': [
      () => ({
        then(done: (value: string) => void, failed: (error: Error) => void) {
          done('fine')
          failed(new Error('twice'))
          done('again')
        },
      }),
      { value: 'fine' },
    ],
    'returns a promise whose then calls both': [
      () =>
        native((promise) => {
          promise.then = ((done: (value: string) => void, failed: (error: Error) => void) => {
            done('own')
            failed(new Error('own'))
          }) as never
        }),
      { value: 'fine' },
    ],
  }

  it.each(Object.entries(ODD))('%s: one end, and the permit is given back', async (_what, [work, ends]) => {
    const guarded = guard(work as () => Promise<unknown>, { bulkhead: 1, circuitBreaker: true, timeout: '10s' })
    for (let i = 0; i < 3; i++) {
      const end = await guarded().then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
      )
      const [kind] = Object.keys(ends) as ['value' | 'error']
      expect(Object.keys(end)).toEqual([kind])
      // By identity: a matcher would look into it.
      expect(Object.is((end as typeof ends)[kind], ends[kind])).toBe(true)
    }
  })

  it('a promise that throws when it is looked at is a failure', async () => {
    const guarded = guard(
      () =>
        native((promise) =>
          Object.defineProperty(promise, 'constructor', {
            get() {
              throw new Error('looked at')
            },
          }),
        ),
      { bulkhead: 1 },
    )
    await expect(guarded()).rejects.toThrow('looked at')
    await expect(guarded()).rejects.toThrow('looked at')
  })

  it('a long queue of functions that throw at once ends without deep recursion', async () => {
    const guarded = guard(
      (): Promise<never> => {
        throw new Error('down')
      },
      { bulkhead: { concurrency: 1, queue: 20_000, maxWait: '1m' } },
    )
    const ends = await Promise.allSettled(Array.from({ length: 20_000 }, () => guarded()))
    expect(ends.every((end) => end.status === 'rejected' && (end.reason as Error).message === 'down')).toBe(true)
  })

  it('a clock that fails ends the call, and no other', async () => {
    const broken = { at: false }
    const clock: Clock = {
      now: () => systemClock.now(),
      wallNow: () => systemClock.wallNow(),
      random: () => systemClock.random(),
      stalledMsSince: () => 0,
      stopTimer: (timer) => systemClock.stopTimer(timer),
      startBackgroundTimer: (ms, fire, context) => systemClock.startBackgroundTimer(ms, fire, context),
      startTimer(ms, fire, context) {
        if (broken.at) throw new Error('no timer')
        return systemClock.startTimer(ms, fire, context)
      },
    }
    const guarded = guard(async () => 'fine', { clock, timeout: '10s', bulkhead: 1 })
    broken.at = true
    await expect(guarded()).rejects.toThrow('no timer')
    broken.at = false
    expect(await guarded()).toBe('fine')
    expect(() => guard(async () => 1, { clock: { now: () => 0 } as never })).toThrow(/clock: expected a Clock/)
  })
})

describe('listeners of a circuit', () => {
  const EVENTS = ['fire', 'success', 'failure', 'open', 'close', 'halfOpen', 'reject'] as const

  it.each(EVENTS)('may throw or reject at %s: no call is harmed, and the others hear it', async (event) => {
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    try {
      let failing = true
      const clock = new FakeClock()
      const name = `heard-${event}`
      const guarded = guard(
        async () => {
          if (failing) throw new Error('down')
          return 'fine'
        },
        { name, clock, bulkhead: 1, circuitBreaker: { minimumCalls: 2, resetAfter: '500ms', window: '1s' } },
      )
      const heard = vi.fn()
      const circuit = circuitOf(name)
      circuit.prependListener(event, () => {
        throw new Error('observer')
      })
      circuit.on(event, async () => Promise.reject(new Error('async observer')))
      circuit.on(event, heard)

      await expect(guarded()).rejects.toThrow('down')
      await expect(guarded()).rejects.toThrow('down')
      await expect(guarded()).rejects.toMatchObject({ code: 'circuit-open' })
      failing = false
      clock.advance(500)
      expect(await guarded()).toBe('fine')
      expect(await guarded()).toBe('fine')
      expect(heard).toHaveBeenCalled()
      expect(warnings).toHaveBeenCalledOnce()
      expect(String(warnings.mock.calls[0]![0])).toContain(`'${event}' of the circuit '${name}'`)
    } finally {
      warnings.mockRestore()
    }
  })

  it('may be removed, all of them, and the breaker goes on', async () => {
    const guarded = guard(async () => Promise.reject(new Error('down')), {
      name: 'bare',
      circuitBreaker: { minimumCalls: 1, resetAfter: '1h' },
    })
    const circuit = circuitOf('bare')
    circuit.removeAllListeners('open')
    await expect(guarded()).rejects.toThrow('down')
    await expect(guarded()).rejects.toMatchObject({ code: 'circuit-open' })
    circuit.close()
    await expect(guarded()).rejects.toThrow('down')
  })
})
