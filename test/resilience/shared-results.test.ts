import { describe, expect, it } from 'vitest'
import { Call } from '../../src/core/call.ts'
import { inboundCall, serving } from '../../src/core/context.ts'
import { guard } from '../../src/resilience/guard/guard.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { KIND } from './conformance.ts'

describe('collapsing of equal calls', () => {
  it('executes once while one runs, for the same arguments and the same object', async () => {
    const clock = new FakeClock()
    const ends: (() => void)[] = []
    class Prices {
      quote = guard(
        (sku: string) =>
          new Promise<{ sku: string }>((resolve) => {
            ends.push(() => resolve({ sku }))
          }),
        { clock, collapse: true },
      )
    }
    const prices = new Prices()
    const [a, b, c] = [prices.quote('a'), prices.quote('a'), prices.quote('b')]
    await clock.settle()
    expect(ends.length).toBe(2)
    for (const end of ends) end()
    expect(await a).toBe(await b)
    expect(await c).toEqual({ sku: 'b' })
    void prices.quote('a')
    await clock.settle()
    expect(ends.length).toBe(3)
  })

  it('keeps objects that share a guard apart', async () => {
    const quote = guard(
      async function quote(this: { price: number }) {
        return this.price
      },
      { collapse: true, cache: '1m' },
    )
    expect(await Promise.all([quote.call({ price: 1 }), quote.call({ price: 2 })])).toEqual([1, 2])
  })

  it('goes on when one caller leaves, and is cancelled when all have', async () => {
    const clock = new FakeClock()
    let signal: AbortSignal | undefined
    let end: (value: string) => void = () => {}
    const work = guard(
      () => {
        signal = inboundCall()!.signal
        return new Promise<string>((resolve) => {
          end = resolve
        })
      },
      { clock, collapse: true },
    )
    const [one, two] = [new Call(KIND, 0, 1e9, undefined), new Call(KIND, 0, 1e9, undefined)]
    const first = serving(one, () => work())
    const second = serving(two, () => work())
    first.catch(() => {})
    await clock.settle()
    one.cancel('gone')
    await expect(first).rejects.toMatchObject({ code: 'cancelled', cause: 'gone' })
    expect(signal!.aborted).toBe(false)
    end('answer')
    expect(await second).toBe('answer')

    const third = serving(two, () => work())
    third.catch(() => {})
    await clock.settle()
    two.cancel('gone, too')
    await expect(third).rejects.toMatchObject({ code: 'cancelled' })
    expect(signal!.aborted).toBe(true)
  })

  it('shares a failure with those who waited for it, and with nobody later', async () => {
    let runs = 0
    const work = guard(async () => Promise.reject(new Error(`run ${++runs}`)), { cache: '1m' })
    const both = await Promise.allSettled([work(), work()])
    expect(both.map((end) => (end as PromiseRejectedResult).reason.message)).toEqual(['run 1', 'run 1'])
    await expect(work()).rejects.toThrow('run 2')
  })
})

describe('the cache of a function', () => {
  it('keeps a result for its time, and not longer', async () => {
    const clock = new FakeClock()
    let runs = 0
    const work = guard(async (sku: string) => `${sku} ${++runs}`, { clock, cache: '1s' })
    expect([await work('a'), await work('a'), await work('b')]).toEqual(['a 1', 'a 1', 'b 2'])
    clock.advance(999)
    expect(await work('a')).toBe('a 1')
    clock.advance(1)
    expect(await work('a')).toBe('a 3')
  })

  it('is bounded, and the oldest go first', async () => {
    let runs = 0
    const work = guard(async (_sku: number) => ++runs, { cache: '1h' })
    for (let i = 0; i < 1_500; i++) await work(i)
    await work(1_499)
    expect(runs).toBe(1_500)
    await work(0)
    expect(runs).toBe(1_501)
  })

  it('takes equality from the caller, and executes what is like no other', async () => {
    let runs = 0
    const work = guard(async (_user: { id: number; name: string }) => ++runs, {
      cache: '1h',
      key: (user) => (user.id === 0 ? undefined : String(user.id)),
    })
    expect([await work({ id: 1, name: 'a' }), await work({ id: 1, name: 'b' })]).toEqual([1, 1])
    expect([await work({ id: 0, name: 'a' }), await work({ id: 0, name: 'a' })]).toEqual([2, 3])
    const odd = guard(async (_n: Map<string, string>) => ++runs, { cache: '1h' })
    expect([await odd(new Map()), await odd(new Map())]).toEqual([4, 5])
  })
})
