/** A hostile caller writes requests: how they are answered, and what the calls beside them lose. */
import { gzipSync } from 'node:zlib'
import { status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { currentCall } from '../../../src/server/current-call.ts'
import { bomb } from '../../rigs/bomb.ts'
import { grpcFrame } from '../../rigs/scripted-grpc-server.ts'
import { begin, itemBytes, Shop, type ShopHandlers } from '../../rigs/shop.ts'
import { type RawCaller, rawCaller } from './raw-call.ts'
import { serveShop, shopClient } from './rig.ts'

/** A message with `bytes` zeros. */
function itemOf(bytes: number): Buffer {
  return Shop.service.Get!.requestSerialize({ sku: 'a', filler: Buffer.alloc(bytes) })
}

const METHODS = ['Get', 'Upload', 'Watch', 'Chat'] as const

interface Attacked {
  readonly caller: RawCaller
  /** What the handlers have taken for a whole request. */
  readonly taken: string[]
  /** A call beside the attack, on another connection, and one on the same. */
  goesOn(): Promise<void>
}

async function attacked(): Promise<Attacked> {
  const taken: string[] = []
  const handlers: ShopHandlers = {
    Get: ({ request }, answer) => {
      if (request.sku !== 'good') taken.push('Get')
      answer(null, { sku: request.sku })
    },
    Watch: (call) => {
      taken.push('Watch')
      call.end()
    },
    Upload: (call, answer) => {
      call.resume()
      call.on('end', () => {
        taken.push('Upload')
        answer(null, {})
      })
    },
    Chat: (call) => {
      call.resume()
      call.on('end', () => {
        taken.push('Chat')
        call.end()
      })
    },
  }
  const { server } = await serveShop(handlers)
  const caller = await rawCaller(server.port)
  const honest = shopClient(server.port)
  return {
    caller,
    taken,
    async goesOn() {
      expect(await begin(honest, 'get', { items: [{ sku: 'good' }] }).ended).toMatchObject({ code: status.OK })
      expect(caller.closed).toBe(false)
      const call = caller.begin('Get')
      call.write(grpcFrame(itemBytes('good')))
      call.end()
      expect(await call.ended).toBe('0')
    },
  }
}

describe('a length prefix', () => {
  it.each(METHODS)('that announces 4 GB is RESOURCE_EXHAUSTED at once (%s)', async (method) => {
    const { caller, taken, goesOn } = await attacked()
    const call = caller.begin(method)
    call.write(grpcFrame(Buffer.alloc(10), { length: 0xff_ff_ff_ff }))
    expect(await call.ended).toBe(String(status.RESOURCE_EXHAUSTED))
    expect(taken).toEqual([])
    await goesOn()
  })

  it.each(METHODS)('that announces more than follows is INTERNAL, also after whole messages (%s)', async (method) => {
    const whole = method === 'Upload' || method === 'Chat' ? grpcFrame(itemBytes('whole')) : Buffer.alloc(0)
    for (const rest of [grpcFrame(itemBytes('cut'), { length: 100 }), Buffer.of(0, 0, 0)]) {
      const { caller, taken, goesOn } = await attacked()
      const call = caller.begin(method)
      call.write(whole)
      call.write(rest)
      call.end()
      expect(await call.ended).toBe(String(status.INTERNAL))
      expect(taken).toEqual([])
      await goesOn()
    }
  })

  it('that announces more than follows aborts the signal of its handler, and cancels its stream', async () => {
    const heard: string[] = []
    const { server } = await serveShop({
      Upload: (call) => {
        currentCall()!.signal.addEventListener('abort', () => heard.push(String(currentCall()!.signal.reason.code)))
        call.on('cancelled', () => heard.push('cancelled')).on('end', () => heard.push('end'))
        call.resume()
      },
    })
    const call = (await rawCaller(server.port)).begin('Upload')
    call.write(Buffer.concat([grpcFrame(itemBytes('whole')), Buffer.of(0, 0, 0, 0, 9, 1)]))
    call.end()
    expect(await call.ended).toBe(String(status.INTERNAL))
    await expect.poll(() => [...heard].sort()).toEqual(['cancelled', 'protocol-error'])
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it.each(['Get', 'Watch'])('that never comes is no request (%s)', async (method) => {
    const { caller, taken, goesOn } = await attacked()
    const call = caller.begin(method)
    call.end()
    expect(await call.ended).toBe(String(status.UNIMPLEMENTED))
    expect(taken).toEqual([])
    await goesOn()
  })
})

describe('a compressed message', () => {
  it.each(METHODS)('of 200 MB in 200 KB is RESOURCE_EXHAUSTED, and takes no memory (%s)', async (method) => {
    const bytes = await bomb(209_715_200)
    const { caller, taken, goesOn } = await attacked()
    await goesOn()
    const before = process.memoryUsage().arrayBuffers
    const call = caller.begin(method, { 'grpc-encoding': 'gzip' })
    call.write(grpcFrame(bytes, { compressed: true }))
    call.end()
    expect(await call.ended).toBe(String(status.RESOURCE_EXHAUSTED))
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100_000_000)
    expect(taken).toEqual([])
    await goesOn()
  })

  it.each([
    ['in a way that nobody knows', { 'grpc-encoding': 'br' }, status.UNIMPLEMENTED],
    ['otherwise than it says', { 'grpc-encoding': 'gzip' }, status.INTERNAL],
  ])('%s is refused', async (_how, headers, code) => {
    for (const method of METHODS) {
      const { caller, taken, goesOn } = await attacked()
      const call = caller.begin(method, headers as Record<string, string>)
      call.write(grpcFrame(itemBytes('a'), { compressed: true }))
      call.end()
      expect([method, await call.ended]).toEqual([method, String(code)])
      expect(taken).toEqual([])
      await goesOn()
    }
  })

  it('is inflated at the pace of its reader, so that many take no memory', async () => {
    const bytes = gzipSync(itemOf(4_000_000))
    const most = 150
    const reading = Promise.withResolvers<() => void>()
    let read = 0
    const { server } = await serveShop({
      Chat: (call) => {
        call.on('data', ({ filler }) => {
          read += filler!.length
        })
        call.once('data', () => {
          call.pause()
          reading.resolve(() => call.resume())
        })
        call.on('end', () => call.end())
      },
    })
    const caller = await rawCaller(server.port)
    const before = process.memoryUsage().arrayBuffers
    const call = caller.begin('Chat', { 'grpc-encoding': 'gzip' })
    for (let i = 0; i < most; i++) call.write(grpcFrame(bytes, { compressed: true }))
    call.end()
    const resume = await reading.promise
    // Time for more than a stream of grpc-js keeps, which is 16 messages.
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(300_000_000)
    resume()
    expect(await call.ended).toBe('0')
    expect(read).toBe(most * 4_000_000)
  })
})

describe('metadata', () => {
  it.each<[string, Record<string, string>]>([
    ['of bytes that are no base64', { 'x-a-bin': '!!!=?', 'x-b-bin': '====,AA=A,%00', 'grpc-tags-bin': '*' }],
    ['of 1,000 entries', Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`x-${i}`, 'v']))],
    ['with names of Object.prototype', { constructor: 'b', tostring: 'c', valueof: 'd' }],
    ['of nonsense in names of gRPC', { 'grpc-accept-encoding': ',,,', 'grpc-encoding': '', 'grpc-message': '%zz' }],
  ])('%s harms its own call at most', async (_what, headers) => {
    const entries = Object.keys(headers).length
    const { caller, goesOn } = await attacked()
    for (const method of METHODS) {
      const call = caller.begin(method, headers)
      call.write(grpcFrame(itemBytes('a')))
      call.end()
      // Node takes 128 headers over HTTP/2.
      expect([method, await call.ended]).toEqual([
        method,
        expect.stringMatching(entries > 100 ? /^(0|8|reset)$/ : /^0$/),
      ])
    }
    await goesOn()
  })
})
