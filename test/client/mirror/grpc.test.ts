/** Mirrors of gRPC calls of all kinds: whole requests are copied, answers read within bounds. */
import * as grpc from '@grpc/grpc-js'
import { expect, it } from 'vitest'
import type { Mesh } from '../../../src/index.ts'
import { begin, Shop, type ShopClient, type ShopHandlers, shopServer } from '../../rigs/shop.ts'
import { until } from '../http/rig.ts'
import { ALL, dropped, mirroredMesh, SUBSETS, sent } from './mesh-rig.ts'

const FILLER = Buffer.alloc(100_000)

/** A caller of `inventory`, whose calls all go to `blue` and are copied to `green`. */
async function shop(green: ShopHandlers, blue: ShopHandlers): Promise<{ checkout: Mesh; client: ShopClient }> {
  const rig = await mirroredMesh([{ service: 'inventory', timeout: '30s', subsets: SUBSETS, routes: [ALL] }])
  for (const [version, handlers] of [
    ['v1', blue],
    ['v2', green],
  ] as const) {
    const mesh = await rig.test.join('inventory', { version })
    await mesh.serveGrpc(shopServer(handlers))
  }
  const checkout = await rig.test.join('checkout')
  return { checkout, client: checkout.grpc(Shop, 'inventory') as unknown as ShopClient }
}

const watchOnce: NonNullable<ShopHandlers['Watch']> = (call) => {
  call.write({ sku: call.request.sku! })
  call.end()
}

/** Collects the SKUs of a stream of requests, and answers. */
function uploadTo(received: string[][]): NonNullable<ShopHandlers['Upload']> {
  return (call, done) => {
    const skus: string[] = []
    call.on('data', ({ sku }) => skus.push(sku))
    call.on('error', () => {})
    call.on('end', () => {
      received.push(skus)
      done(null, { sku: 'done' })
    })
  }
}

it('copies a stream of requests, message by message', async () => {
  const copies: string[][] = []
  const { checkout, client } = await shop({ Upload: uploadTo(copies) }, { Upload: uploadTo([]) })
  const items = [{ sku: 'a' }, { sku: 'b', filler: FILLER }, { sku: 'c' }]
  expect((await begin(client, 'upload', { items }).ended).code).toBe(grpc.status.OK)
  await until(() => sent(checkout, 'ok') === 1)
  expect(copies).toEqual([['a', 'b', 'c']])
})

it('does not copy more than is kept for retries, and counts it', async () => {
  const copies: string[][] = []
  const { checkout, client } = await shop({ Upload: uploadTo(copies) }, { Upload: uploadTo([]) })
  const items = [1, 2, 3].map((n) => ({ sku: `${n}`, filler: FILLER }))
  expect((await begin(client, 'upload', { items }).ended).code).toBe(grpc.status.OK)
  await until(() => dropped(checkout, 'body-too-large') === 1)
  expect(copies).toEqual([])
})

it('does not copy a conversation whose messages were released, and counts it', async () => {
  const chat: NonNullable<ShopHandlers['Chat']> = (call) => {
    call.on('data', (item) => call.write({ sku: item.sku }))
    call.on('end', () => call.end())
    call.on('error', () => {})
  }
  const copies: string[] = []
  const copied: NonNullable<ShopHandlers['Chat']> = (call) => {
    call.on('data', ({ sku }) => copies.push(sku))
    call.on('end', () => call.end())
  }
  const { checkout, client } = await shop({ Chat: copied }, { Chat: chat })
  const running = client.chat()
  const heard: unknown[] = []
  running.on('data', (stock) => heard.push(stock))
  running.on('error', () => {})
  running.write({ sku: 'a' })
  await until(() => heard.length === 1)
  running.write({ sku: 'b' })
  await until(() => heard.length === 2)
  running.end()
  await until(() => dropped(checkout, 'body-not-kept') === 1)
  expect(copies).toEqual([])
})

it('asks call credentials once and sends what they gave; interceptors run once', async () => {
  const tokens: unknown[] = []
  const { checkout, client } = await shop(
    {
      Get: ({ metadata }, done) => {
        tokens.push(metadata.get('x-token')[0])
        done(null, {})
      },
    },
    { Get: (_call, done) => done(null, {}) },
  )
  let asked = 0
  const credentials = grpc.credentials.createFromMetadataGenerator((_options, done) => {
    asked += 1
    const metadata = new grpc.Metadata()
    metadata.set('x-token', `token ${asked}`)
    done(null, metadata)
  })
  let intercepted = 0
  const interceptor: grpc.Interceptor = (options, next) => {
    intercepted += 1
    return new grpc.InterceptingCall(next(options))
  }
  const ended = await begin(client, 'get', { credentials, interceptors: [interceptor] }).ended
  expect(ended.code).toBe(grpc.status.OK)
  await until(() => sent(checkout, 'ok') === 1)
  expect({ asked, intercepted, tokens }).toEqual({ asked: 1, intercepted: 1, tokens: ['token 1'] })
})

it('a stream of answers that does not end is read up to a bound, then reset', async () => {
  let reset = false
  const endless: NonNullable<ShopHandlers['Watch']> = (call) => {
    call.on('cancelled', () => {
      reset = true
    })
    const pump = (): void => {
      while (!reset) {
        if (!call.write({ filler: FILLER })) {
          call.once('drain', () => setImmediate(pump))
          return
        }
      }
    }
    pump()
  }
  const { checkout, client } = await shop({ Watch: endless }, { Watch: watchOnce })
  const { answers, code } = await begin(client, 'watch').ended
  expect([code, answers.length]).toEqual([grpc.status.OK, 1])
  await until(() => reset)
  expect(sent(checkout, 'ok')).toBe(1)
})

it('one message that is larger than the bound is not collected', async () => {
  let cancelled = false
  const { checkout, client } = await shop(
    {
      Get: (call, done) => {
        call.on('cancelled', () => {
          cancelled = true
        })
        done(null, { filler: Buffer.alloc(3_900_000) })
      },
    },
    { Get: (_call, done) => done(null, {}) },
  )
  expect((await begin(client, 'get').ended).code).toBe(grpc.status.OK)
  await until(() => cancelled)
  expect(sent(checkout, 'ok')).toBe(1)
})

it('a target that lacks the method harms no call', async () => {
  const { checkout, client } = await shop({}, { Get: (_call, done) => done(null, {}) })
  for (let i = 0; i < 3; i++) expect((await begin(client, 'get').ended).code).toBe(grpc.status.OK)
  await until(() => sent(checkout, 'ok') === 3)
})
