import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'
import { afterEach, describe, expect, it } from 'vitest'
import { Call } from '../../../src/core/call.ts'
import { inboundCall, serving } from '../../../src/core/context.ts'
import {
  bulkhead,
  circuitBreaker,
  fallback,
  guarded,
  rateLimit,
  retry,
  timeout,
} from '../../../src/resilience/guard/decorators.ts'
import { guard } from '../../../src/resilience/guard/guard.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { KIND } from '../conformance.ts'

describe('guard', () => {
  it('tells the transitions of its circuit on the channel of circuits', async () => {
    const heard: unknown[] = []
    const listen = (message: unknown): void => void heard.push(message)
    subscribe('inmesh:circuit:transition', listen)
    try {
      const work = guard(
        async function quote() {
          throw new Error('down')
        },
        { clock: new FakeClock({ wallNow: 5 }), circuitBreaker: { minimumCalls: 1 } },
      )
      await work().catch(() => undefined)
      expect(heard).toEqual([{ peer: 'quote', from: 'closed', to: 'open', service: '', at: 5 }])
    } finally {
      unsubscribe('inmesh:circuit:transition', listen)
    }
  })

  it('keeps this, arguments, name and length', async () => {
    const prices = {
      factor: 2,
      quote: guard(function quote(this: { factor: number }, a: number, b: number) {
        return this.factor * (a + b)
      }),
    }
    expect(await prices.quote(3, 4)).toBe(14)
    expect([prices.quote.name, prices.quote.length]).toEqual(['quote', 2])
  })

  it('repeats failures and gives the last error as it was thrown', async () => {
    const clock = new FakeClock()
    let tries = 0
    const odd = { odd: true }
    const work = guard(async () => Promise.reject(++tries < 3 ? new Error('early') : odd), {
      clock,
      retry: { attempts: 3, backoff: { base: 10 } },
    })
    const done = work()
    done.catch(() => {})
    await clock.settle(200)
    await expect(done).rejects.toBe(odd)
    expect(tries).toBe(3)
    expect(clock.timers).toBe(0)
  })

  it('does not repeat what the caller says is no failure', async () => {
    let tries = 0
    const work = guard(
      async () => {
        tries += 1
        throw new RangeError('bad sku')
      },
      { retry: { attempts: 3 }, isFailure: (error) => !(error instanceof RangeError) },
    )
    await expect(work()).rejects.toThrow('bad sku')
    expect(tries).toBe(1)
  })

  it('ends a call at its time limit and cancels what it started', async () => {
    const clock = new FakeClock()
    let signal: AbortSignal | undefined
    const work = guard(
      () => {
        signal = inboundCall()!.signal
        return new Promise(() => {})
      },
      { clock, timeout: '200ms', name: 'quote' },
    )
    const done = work()
    done.catch(() => {})
    await clock.settle(200, 50)
    await expect(done).rejects.toMatchObject({
      code: 'deadline-exceeded',
      service: 'quote',
      sent: true,
      elapsedMs: 200,
    })
    expect(signal!.aborted).toBe(true)
    expect(clock.timers).toBe(0)
  })

  it('bounds one attempt only if asked to, while another may follow', async () => {
    const clock = new FakeClock()
    let tries = 0
    const work = guard(async () => (++tries === 1 ? new Promise<string>(() => {}) : 'second'), {
      clock,
      retry: { attempts: 2, perTryTimeout: 50, backoff: { base: 0 } },
    })
    const done = work()
    await clock.settle(100, 10)
    expect(await done).toBe('second')
  })

  it('opens its breaker, refuses, and asks the fallback for the last word', async () => {
    const clock = new FakeClock()
    let ran = 0
    const fail = async (): Promise<number> => {
      ran += 1
      throw new Error('down')
    }
    const plain = guard(fail, { clock, circuitBreaker: { minimumCalls: 3 } })
    for (let i = 0; i < 3; i++) await expect(plain()).rejects.toThrow('down')
    await expect(plain()).rejects.toMatchObject({ code: 'circuit-open', sent: false })
    expect(ran).toBe(3)
    const soft = guard(fail, { clock, circuitBreaker: { minimumCalls: 1 }, fallback: () => 7 })
    expect([await soft(), await soft()]).toEqual([7, 7])
    expect(ran).toBe(4)
  })

  it('refuses beyond its bulkhead and its rate, and lets go of permits', async () => {
    const clock = new FakeClock()
    const ends: (() => void)[] = []
    const work = guard(() => new Promise<void>((resolve) => ends.push(resolve)), { clock, bulkhead: 2 })
    const running = [work(), work()]
    await expect(work()).rejects.toMatchObject({ code: 'concurrency-limited' })
    for (const end of ends) end()
    await Promise.all(running)
    const next = work()
    ends.at(-1)!()
    await next
    const limited = guard(async () => 1, { clock, rateLimit: { rate: 1 } })
    await limited()
    await expect(limited()).rejects.toMatchObject({ code: 'rate-limited' })
  })

  it('inherits deadline and cancellation of the request being served', async () => {
    const clock = new FakeClock()
    const inbound = new Call(KIND, 0, 100, undefined)
    let deadlineAt = 0
    const work = guard(
      () => {
        deadlineAt = inboundCall()!.deadlineAt
        return new Promise(() => {})
      },
      { clock, timeout: '10s' },
    )
    const done = serving(inbound, () => work())
    done.catch(() => {})
    await clock.settle()
    inbound.cancel('client went away')
    await expect(done).rejects.toMatchObject({ code: 'cancelled', cause: 'client went away' })
    expect(deadlineAt).toBe(100)
    expect(clock.timers).toBe(0)
  })

  it('names every wrong option at once', () => {
    expect(() => guard(async () => 1, { timeout: 'soon' as '1s', bulkhead: 0, retries: 3 } as never)).toThrow(
      /retries.*retry.*timeout.*bulkhead/s,
    )
  })
})

describe('decorators', () => {
  const standard = (decorate: unknown, method: unknown, name = 'quote'): ((...args: unknown[]) => Promise<unknown>) =>
    (decorate as (m: unknown, c: unknown) => never)(method, { kind: 'method', name })

  it('stack in the order of the stack, not in the order written', async () => {
    for (const order of [
      [fallback(() => 'last'), retry({ attempts: 3, backoff: { base: 0 } })].reverse(),
      [fallback(() => 'last'), retry({ attempts: 3, backoff: { base: 0 } })],
    ]) {
      let tries = 0
      let method: unknown = async () => {
        tries += 1
        throw new Error('down')
      }
      for (const each of order) method = standard(each, method)
      expect(await (method as () => Promise<unknown>)()).toBe('last')
      expect(tries).toBe(3)
    }
  })

  it('work in the legacy signature', async () => {
    class Prices {
      calls = 0
      async quote(): Promise<number> {
        this.calls += 1
        throw new Error('down')
      }
    }
    for (const each of [circuitBreaker({ minimumCalls: 2 }), timeout('1s'), bulkhead(5), rateLimit('100/s')]) {
      const descriptor = Object.getOwnPropertyDescriptor(Prices.prototype, 'quote') as TypedPropertyDescriptor<
        () => Promise<number>
      >
      each(Prices.prototype, 'quote', descriptor)
      Object.defineProperty(Prices.prototype, 'quote', descriptor)
    }
    const [one, two] = [new Prices(), new Prices()]
    await expect(one.quote()).rejects.toThrow('down')
    await expect(two.quote()).rejects.toThrow('down')
    await expect(one.quote()).rejects.toMatchObject({ code: 'circuit-open', service: 'Prices.quote' })
    expect(Prices.prototype.quote.name).toBe('quote')
    expect([one.calls, two.calls]).toEqual([1, 1])
  })

  it('keep what other decorators have noted on the method, written above or below', async () => {
    await import('reflect-metadata')
    const reflect = Reflect as unknown as {
      defineMetadata(key: string, value: unknown, of: object): void
      getMetadata(key: string, of: object): unknown
    }
    let method: unknown = async () => 'priced'
    reflect.defineMetadata('path', '/prices', method as object)
    method = standard(timeout('1s'), method)
    reflect.defineMetadata('method', 'GET', method as object)
    method = standard(retry(), method)
    expect(reflect.getMetadata('path', method as object)).toBe('/prices')
    expect(reflect.getMetadata('method', method as object)).toBe('GET')
    expect(await (method as () => Promise<string>)()).toBe('priced')
  })

  it('keep one set of policies for each object if asked to', async () => {
    const fail = async (): Promise<never> => {
      throw new Error('down')
    }
    const quote = standard(guarded({ scope: 'instance', circuitBreaker: { minimumCalls: 1 } }), fail)
    const [one, two] = [{ quote }, { quote }]
    await expect(one.quote()).rejects.toThrow('down')
    await expect(one.quote()).rejects.toMatchObject({ code: 'circuit-open' })
    await expect(two.quote()).rejects.toThrow('down')
  })

  it('refuse what is no method, and wrong options when the class is defined', () => {
    expect(() => (retry() as (a: unknown, b: unknown) => void)(undefined, { kind: 'field', name: 'x' })).toThrow(
      /only methods/,
    )
    expect(() => bulkhead(-1)).toThrow(/bulkhead/)
  })
})

describe('decorators compiled by TypeScript', () => {
  let directory = ''
  afterEach(() => rm(directory, { recursive: true, force: true }))

  const source = `
    import { fallback, retry, timeout } from '${pathToFileURL(resolve(import.meta.dirname, '../../../src/resilience/guard/decorators.ts')).href}'
    let tries = 0
    class Prices {
      #base = 40
      @fallback(() => -1) @retry({ attempts: 3, backoff: { base: 0 } }) @timeout('1s')
      async quote(add: number) { if (++tries < 3) throw new Error('early'); return this.#base + add }
    }
    export const answer = () => new Prices().quote(2)
  `

  it.each([
    ['standard', false],
    ['legacy', true],
  ])('run in the %s mode', async (_, experimentalDecorators) => {
    directory = await mkdtemp(join(tmpdir(), 'inmesh-decorators-'))
    const { outputText } = ts.transpileModule(source, {
      compilerOptions: { experimentalDecorators, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
    })
    const file = join(directory, 'fixture.mjs')
    await writeFile(file, outputText)
    const { answer } = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as { answer: () => Promise<number> }
    expect(await answer()).toBe(42)
  })
})
