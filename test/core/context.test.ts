import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, it } from 'vitest'
import { Call } from '../../src/core/call.ts'
import { detached, inboundCall, serving } from '../../src/core/context.ts'
import { detached as exported } from '../../src/index.ts'
import { guard } from '../../src/resilience/guard/guard.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { KIND } from '../resilience/conformance.ts'

const TRACE = Object.freeze({ traceId: '1'.repeat(32), spanId: '2'.repeat(16), sampled: true, state: undefined })

function request(deadlineAt = Number.POSITIVE_INFINITY): Call {
  const call = new Call(KIND, 0, deadlineAt, undefined)
  call.trace = TRACE
  call.baggage = new Map([['tenant', 'a']])
  return call
}

/** The context that a call begun here would inherit. */
function bound(): { until: number | undefined; cancelled: boolean; tenant: string | undefined } {
  const call = inboundCall()
  return {
    until: call?.bindsUntil,
    cancelled: call !== undefined && !call.over && call.cancelled,
    tenant: call?.baggage?.get('tenant'),
  }
}

const later = <T>(work: () => T): (() => T) => AsyncLocalStorage.bind(work)

describe('what is left of a call that has ended', () => {
  it('is its trace and baggage, and neither deadline nor cancellation', () => {
    const served = request(100)
    const look = serving(served, () => later(bound))
    expect(look()).toEqual({ until: 100, cancelled: false, tenant: 'a' })
    served.settled = true
    expect(look()).toEqual({ until: Number.POSITIVE_INFINITY, cancelled: false, tenant: 'a' })
  })

  it('lets a guarded call begin that its deadline would have refused', async () => {
    const clock = new FakeClock()
    const served = request(100)
    const work = guard(async () => inboundCall()!.deadlineAt, { clock, timeout: '1s' })
    const call = serving(served, () => later(() => work()))
    expect(await call()).toBe(100)
    clock.advance(200)
    await expect(call()).rejects.toMatchObject({ code: 'deadline-exceeded' })
    served.settled = true
    expect(await call()).toBe(1_200)
  })

  it.each([
    ['alone', {}],
    ['with executions of its own', { hedge: { after: '10s' } as const }],
  ])('of a guarded call %s, whether it succeeds, fails or is late', async (_what, options) => {
    const clock = new FakeClock()
    const served = request(5_000)
    let look = bound
    let end: (value: unknown) => void = () => {}
    const work = guard(
      () => {
        look = later(bound)
        return new Promise((resolve) => {
          end = resolve
        })
      },
      { ...options, clock, timeout: '1s' },
    )
    // Within a request that is still being served, that one binds what the guarded call leaves
    // behind.
    for (const [parent, until] of [
      [undefined, Number.POSITIVE_INFINITY],
      [served, 5_000],
    ] as const) {
      const ask = (): Promise<unknown> => (parent === undefined ? work() : serving(parent, () => work()))
      const begun = clock.now()
      const good = ask()
      await clock.settle()
      expect(look().until).toBe(begun + 1_000)
      end('fine')
      await good
      expect(look().until).toBe(until)

      const bad = ask()
      await clock.settle()
      end(Promise.reject(new Error('down')))
      await expect(bad).rejects.toThrow('down')
      expect(look().until).toBe(until)

      const late = ask()
      late.catch(() => {})
      await clock.settle(1_000)
      await expect(late).rejects.toMatchObject({ code: 'deadline-exceeded' })
      // No caller waits for it any more, but it still runs: calls that it begins are useless.
      expect(look().cancelled).toBe(true)
      end('late')
      await clock.settle()
      expect(look()).toMatchObject({ until, cancelled: false })
    }
  })

  it('does not end what was begun before it, within its deadline, and still runs', async () => {
    const clock = new FakeClock()
    let inner: Promise<string> = Promise.resolve('')
    let end: (value: string) => void = () => {}
    const slow = guard(
      () =>
        new Promise<string>((resolve) => {
          end = resolve
        }),
      { clock },
    )
    const outer = guard(
      async () => {
        inner = slow()
      },
      { clock, timeout: '1s' },
    )
    await outer()
    clock.advance(500)
    end('went on')
    expect(await inner).toBe('went on')
  })
})

describe('detached', () => {
  it('is exported, returns what the work returns, and passes on what it throws', () => {
    expect(exported).toBe(detached)
    expect(detached(() => 7)).toBe(7)
    expect(() =>
      detached(() => {
        throw new Error('no')
      }),
    ).toThrow('no')
    expect(() => detached('no' as never)).toThrow('detached: expected a function')
  })

  it('lifts deadline and cancellation at once; trace, baggage and other storages stay', async () => {
    const served = request(100)
    const own = new AsyncLocalStorage<string>()
    await own.run('mine', () =>
      serving(served, async () => {
        let end: (value: string) => void = () => {}
        const ended = new Promise<string>((resolve) => {
          end = resolve
        })
        const work = guard(() => ended, { timeout: '1m' })
        const outlives = detached(() => work())
        const bindsOnly = work()
        bindsOnly.catch(() => {})
        expect(detached(bound)).toEqual({ until: Number.POSITIVE_INFINITY, cancelled: false, tenant: 'a' })
        expect(detached(() => [inboundCall()!.trace, own.getStore()])).toEqual([TRACE, 'mine'])
        served.cancel('the caller is gone')
        await expect(bindsOnly).rejects.toMatchObject({ code: 'deadline-exceeded' })
        end('done')
        expect(await outlives).toBe('done')
      }),
    )
  })
})

describe('the signal of a call', () => {
  it('tells its listeners in the context of the code that asked for it', () => {
    const own = new AsyncLocalStorage<string>()
    const served = request()
    const heard: unknown[] = []
    own.run('reader', () =>
      serving(served, () => {
        served.signal.addEventListener('abort', () => heard.push(own.getStore(), inboundCall()))
      }),
    )
    own.run('whoever cancels', () => served.cancel('gone'))
    expect(heard).toEqual(['reader', served])
  })
})
