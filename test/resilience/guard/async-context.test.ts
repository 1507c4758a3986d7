import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, it } from 'vitest'
import { Call } from '../../../src/core/call.ts'
import { inboundCall, serving } from '../../../src/core/context.ts'
import type { OptionsError } from '../../../src/options/fields.ts'
import { type GuardOptions, guard } from '../../../src/resilience/guard/guard.ts'
import { resolveGuard } from '../../../src/resilience/guard/settings.ts'
import { KIND } from '../conformance.ts'

const user = new AsyncLocalStorage<string>()
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Options whose value is a function: a new one must be walked here, too. */
function callbackOptions(): string[] {
  const names = ['name', 'timeout', 'retry', 'circuitBreaker', 'hedge', 'bulkhead', 'rateLimit', 'collapse', 'cache']
  const all = [...names, 'key', 'fallback', 'isFailure', 'clock']
  try {
    resolveGuard(Object.fromEntries(all.map((name) => [name, Symbol(name)])))
  } catch (error) {
    const { issues } = error as OptionsError
    expect(issues.length).toBe(all.length)
    return issues.filter(({ message }) => message.includes('a function')).map(({ path }) => String(path[0]))
  }
  return []
}

/**
 * Runs `each` for many users at once, each in a separate async context and within a separate
 * request.
 */
async function walk(each: (who: string, note: (where: string) => void) => Promise<unknown>): Promise<string[]> {
  const foreign: string[] = []
  await Promise.all(
    Array.from({ length: 12 }, async (_, i) => {
      const who = `user ${i % 2} of pair ${i >> 1}`
      const request = new Call(KIND, performance.now(), Number.POSITIVE_INFINITY, undefined)
      request.baggage = new Map([['user', who]])
      const note = (where: string): void => {
        const [mine, theirs] = [user.getStore(), inboundCall()?.baggage?.get('user')]
        if (mine !== who || theirs !== who) foreign.push(`${where} of ${who}: ${mine}, in the request of ${theirs}`)
      }
      await user.run(who, () =>
        serving(request, async () => {
          await each(who, note)
          note('after await')
        }),
      )
    }),
  )
  return foreign
}

const BACKOFF = { base: 1, max: 2 }

const WAYS: Record<string, GuardOptions> = {
  'nothing waits': {},
  'a queue of a bulkhead': { bulkhead: { concurrency: 1, queue: 100, maxWait: '1m' } },
  'a wait for a turn': { rateLimit: { rate: 500, burst: 1, maxWait: '1m' } },
  both: {
    bulkhead: { concurrency: 2, queue: 100, maxWait: '1m' },
    rateLimit: { rate: 500, burst: 1, maxWait: '1m' },
  },
  'refused while queued': { bulkhead: { concurrency: 1, queue: 3, maxWait: '5ms' } },
  'retries that wait': { retry: { attempts: 3, backoff: BACKOFF } },
  'queued, and retries that wait': {
    bulkhead: { concurrency: 1, queue: 100, maxWait: '1m' },
    retry: { attempts: 2, backoff: BACKOFF },
  },
  'attempts that are late': { retry: { attempts: 2, perTryTimeout: '3ms', backoff: BACKOFF }, timeout: '1m' },
  hedges: { hedge: { after: '1ms', maxExtraLoad: '100%' }, bulkhead: { concurrency: 3, queue: 100, maxWait: '1m' } },
  'a breaker that opens': { circuitBreaker: { minimumCalls: 3, resetAfter: '10ms' } },
  'a time limit': { timeout: '4ms', bulkhead: { concurrency: 4, queue: 100, maxWait: '1m' } },
}

describe('what the user gave to a guard runs in the context of its own caller', () => {
  it.each(Object.entries(WAYS))('with %s, cold and warm', async (_what, options) => {
    expect(callbackOptions().sort()).toEqual(['fallback', 'isFailure', 'key'])
    let note: (where: string) => void = () => {}
    const notes = new Map<string, typeof note>()
    const mine = (): typeof note => notes.get(user.getStore() ?? '') ?? note
    const work = async (who: string, fails: boolean): Promise<string> => {
      notes.get(who)!('function')
      inboundCall()!.signal.addEventListener('abort', () => notes.get(who)!('abort listener'))
      await sleep(4)
      notes.get(who)!('function after await')
      if (fails) throw new Error('down')
      return who
    }
    const guarded = guard(work, {
      ...(options as object),
      cache: 1,
      key: (who) => {
        notes.get(who)!('key')
        return undefined
      },
      isFailure: () => {
        mine()('isFailure')
        return true
      },
      fallback: (_error, who) => {
        notes.get(who)!('fallback')
        return who
      },
    })
    for (const _round of ['cold', 'warm']) {
      const foreign = await walk(async (who, noted) => {
        note = noted
        notes.set(who, noted)
        await Promise.all([guarded(who, false), guarded(who, true)])
        await guarded(who, true)
      })
      expect(foreign).toEqual([])
    }
  })

  it('a shared execution runs in the context of the first who asked, as a part of no request', async () => {
    const seen: [string | undefined, unknown][] = []
    const guarded = guard(
      async () => {
        await sleep(5)
        seen.push([user.getStore(), inboundCall()?.baggage?.get('user')])
        return {}
      },
      { collapse: true },
    )
    const foreign = await walk(async (_who, note) => {
      await guarded()
      note('after await')
    })
    expect(foreign).toEqual([])
    expect(seen).toEqual([['user 0 of pair 0', undefined]])
  })
})
