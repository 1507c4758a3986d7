/**
 * Where a stream of requests comes from is let go when its call is over, however it ended, and
 * costs nothing by then.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { EventEmitter, on } from 'node:events'
import { Readable } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as grpc from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { GrpcClient } from '../../../src/client/grpc/client.ts'
import type { GrpcCallOptions } from '../../../src/client/grpc/promises/promises.ts'
import { openSource, RequestWriter } from '../../../src/client/grpc/promises/requests.ts'
import type { GrpcScript } from '../../rigs/scripted-grpc-server.ts'
import { until } from '../http/rig.ts'
import { grpcRigOver, type Item, itemOf, type Shop, serveGrpc, stock } from './rig.ts'

const unhandled: unknown[] = []
const note = (reason: unknown): void => void unhandled.push(reason)

beforeEach(() => {
  unhandled.length = 0
  process.on('unhandledRejection', note)
})

afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})

interface Fed {
  readonly requests: Iterable<Item> | AsyncIterable<Item>
  /** How often it was let go. */
  readonly returned: () => number
}

/** One item, and then none for ever. */
const WAITING: Readonly<Record<string, () => Fed>> = {
  'an async iterator': () => {
    let returned = 0
    let given = false
    const iterator: AsyncIterator<Item> = {
      next: () => {
        if (given) return new Promise(() => {})
        given = true
        return Promise.resolve({ done: false, value: { sku: 'a' } })
      },
      return: () => {
        returned += 1
        return Promise.resolve({ done: true, value: undefined })
      },
    }
    return { requests: { [Symbol.asyncIterator]: () => iterator }, returned: () => returned }
  },
  'an async iterator whose return() rejects': () => {
    let returned = 0
    let given = false
    const iterator: AsyncIterator<Item> = {
      next: () => {
        if (given) return new Promise(() => {})
        given = true
        return Promise.resolve({ done: false, value: { sku: 'a' } })
      },
      return: () => {
        returned += 1
        return Promise.reject(new Error('it does not like that'))
      },
    }
    return { requests: { [Symbol.asyncIterator]: () => iterator }, returned: () => returned }
  },
  'events.on()': () => {
    const emitter = new EventEmitter()
    const events = on(emitter, 'item')
    emitter.emit('item', { sku: 'a' })
    const iterator: AsyncIterator<Item> = {
      next: async () => {
        const { done, value } = await events.next()
        return done ? { done, value: undefined } : { done: false, value: value[0] }
      },
      async return() {
        await events.return!()
        return { done: true, value: undefined }
      },
    }
    const requests = { [Symbol.asyncIterator]: () => iterator }
    return { requests, returned: () => 1 - emitter.listenerCount('item') }
  },
  'a stream of Node': () => {
    const requests = new Readable({ objectMode: true, read() {} })
    requests.push({ sku: 'a' })
    return { requests, returned: () => Number(requests.destroyed) }
  },
  'a web stream': () => {
    let cancelled = 0
    const requests = new ReadableStream<Item>({
      start: (controller) => controller.enqueue({ sku: 'a' }),
      cancel: () => {
        cancelled += 1
      },
    })
    return { requests, returned: () => cancelled }
  },
}

const answers: GrpcScript = async (call) => {
  await call.message()
  call.answer(stock('enough'))
}
const refuses: GrpcScript = async (call) => {
  await call.message()
  call.finish(grpc.status.FAILED_PRECONDITION, 'no')
}
const breaks: GrpcScript = async (call) => {
  await call.message()
  await call.break()
}
const stalls: GrpcScript = (call) => call.stall()

interface End {
  readonly script: GrpcScript
  readonly options?: () => GrpcCallOptions
  readonly code: number | undefined
}

const ENDS: Readonly<Record<string, End>> = {
  'is answered': { script: answers, code: undefined },
  'is refused': { script: refuses, code: grpc.status.FAILED_PRECONDITION },
  'loses its connection': { script: breaks, code: grpc.status.UNAVAILABLE },
  'is out of time': { script: stalls, options: () => ({ timeout: 100 }), code: grpc.status.DEADLINE_EXCEEDED },
  'is aborted': {
    script: stalls,
    options: () => ({ signal: AbortSignal.timeout(100) }),
    code: grpc.status.CANCELLED,
  },
  'was aborted before': {
    script: stalls,
    options: () => ({ signal: AbortSignal.abort() }),
    code: grpc.status.CANCELLED,
  },
}

const METHODS = {
  upload: async (client: GrpcClient<Shop>, requests: Fed['requests'], options?: GrpcCallOptions): Promise<void> => {
    await client.promises.upload(requests, options)
  },
  chat: async (client: GrpcClient<Shop>, requests: Fed['requests'], options?: GrpcCallOptions): Promise<void> => {
    for await (const { sku } of client.promises.chat(requests, options)) expect(sku).toBe('enough')
  },
}

describe.each(Object.keys(WAITING))('%s that waits for its next item', (name) => {
  it.each(Object.keys(ENDS))('is let go once when its call %s', async (how) => {
    const { script, options, code } = ENDS[how]!
    const server = await serveGrpc(script)
    const rig = grpcRigOver([server.port])
    for (const call of Object.values(METHODS)) {
      const { requests, returned } = WAITING[name]!()
      const ended = await call(rig.client, requests, options?.()).then(
        () => undefined,
        (error: grpc.ServiceError) => error.code,
      )
      expect(ended).toBe(code)
      await until(() => returned() === 1)
    }
    await until(() => rig.endpoint.pending === 0)
  })
})

/** Answers each call with the names of all items. */
const sums: GrpcScript = async (call) => {
  const items = await call.messages()
  call.answer(stock(items.map((bytes) => itemOf(bytes).sku).join('+')))
}

describe('a source', () => {
  it('of a stream that is held back keeps nothing of the items that were sent', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    class Slow extends EventEmitter {
      write(): boolean {
        setImmediate(() => this.emit('drain'))
        return false
      }
      end(): void {
        this.emit('status')
      }
    }
    const WINDOW = 30_000
    const marks: number[] = []
    async function* items(): AsyncGenerator<number> {
      for (let i = 0; i <= 3 * WINDOW; i++) {
        if (i % WINDOW === 0) {
          collect()
          marks.push(process.memoryUsage().heapUsed)
        }
        yield i
      }
    }
    const sink = new Slow()
    const over = new Promise((resolve) => sink.once('status', resolve))
    new RequestWriter(openSource(items()), sink as never, () => {})
    await over
    // The first is for warming up. A race for each item would keep 20 bytes and more of it.
    const perItem = marks.slice(2).map((mark, i) => (mark - marks[i + 1]!) / WINDOW)
    expect(Math.min(...perItem)).toBeLessThan(8)
  })

  it('is any iterable, of items or of promises of them, and is not let go once it has ended', async () => {
    const server = await serveGrpc(sums)
    const rig = grpcRigOver([server.port])
    const items: Item[] = [{ sku: 'a' }, { sku: 'b' }]
    let returned = 0
    const noted: Iterator<Item> = {
      next: () => (items.length > 0 ? { done: false, value: items.shift()! } : { done: true, value: undefined }),
      return: () => {
        returned += 1
        return { done: true, value: undefined }
      },
    }
    const sources: (Iterable<Item> | AsyncIterable<Item> | Iterable<Promise<Item>>)[] = [
      [{ sku: 'a' }, { sku: 'b' }],
      new Set([{ sku: 'a' }, { sku: 'b' }]),
      [Promise.resolve({ sku: 'a' }), Promise.resolve({ sku: 'b' })],
      Readable.from([{ sku: 'a' }, { sku: 'b' }]),
      new ReadableStream<Item>({
        start(controller) {
          controller.enqueue({ sku: 'a' })
          controller.enqueue({ sku: 'b' })
          controller.close()
        },
      }),
      { [Symbol.iterator]: () => noted },
    ]
    for (const source of sources) {
      expect((await rig.client.promises.upload(source as Iterable<Item>)).sku).toBe('a+b')
    }
    expect(returned).toBe(0)
  })

  it('without return() is simply asked no more', async () => {
    const server = await serveGrpc(answers)
    const rig = grpcRigOver([server.port])
    let asked = 0
    const iterator: AsyncIterator<Item> = {
      next: async () => {
        asked += 1
        await new Promise((resolve) => setImmediate(resolve))
        return { done: false, value: { sku: 'a' } }
      },
    }
    expect((await rig.client.promises.upload({ [Symbol.asyncIterator]: () => iterator })).sku).toBe('enough')
    const before = asked
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(asked).toBeLessThanOrEqual(before + 1)
  })

  it('that fails at any place gives its own error and cancels the call, if there is one', async () => {
    const server = await serveGrpc(async (call) => void (await call.messages()))
    const rig = grpcRigOver([server.port])
    const broken = new Error('no more of it')
    const fail = (): never => {
      throw broken
    }
    let returned = 0
    const sources: Readonly<Record<string, Iterable<Item> | AsyncIterable<Item>>> = {
      'no iterator': { [Symbol.asyncIterator]: fail },
      'next() throws': { [Symbol.asyncIterator]: () => ({ next: fail }) },
      'next() rejects': { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(broken) }) },
      'next() of a plain iterator throws': { [Symbol.iterator]: () => ({ next: fail }) },
      'an item rejects': {
        [Symbol.iterator]: () => ({
          next: () => ({ done: false, value: Promise.reject(broken) as never }),
          return: () => {
            returned += 1
            return { done: true, value: undefined }
          },
        }),
      },
      'a web stream': new ReadableStream<Item>({ pull: fail }),
      'a stream of Node': new Readable({
        objectMode: true,
        read() {
          this.destroy(broken)
        },
      }),
    }
    for (const [name, source] of Object.entries(sources)) {
      const error = await rig.client.promises.upload(source).catch((reason: unknown) => reason)
      expect([name, error]).toEqual([name, broken])
    }
    expect(returned).toBe(1)
    await until(() => server.calls.every(({ gone }) => gone) && rig.endpoint.pending === 0)
  })

  it('is let go in the async context of its caller', async () => {
    const user = new AsyncLocalStorage<string>()
    const server = await serveGrpc(answers)
    const rig = grpcRigOver([server.port])
    const told: (string | undefined)[] = []
    const source = (): AsyncIterable<Item> => {
      let given = false
      return {
        [Symbol.asyncIterator]: () => ({
          next: () => {
            told.push(user.getStore())
            if (given) return new Promise(() => {})
            given = true
            return Promise.resolve({ done: false, value: { sku: 'a' } })
          },
          return: () => {
            told.push(user.getStore())
            return Promise.resolve({ done: true, value: undefined })
          },
        }),
      }
    }
    await user.run('alice', () => rig.client.promises.upload(source()))
    await user.run('bob', () => rig.client.promises.upload(source()))
    await until(() => told.length === 6)
    expect(told.toSorted()).toEqual([...Array(3).fill('alice'), ...Array(3).fill('bob')])
  })
})
