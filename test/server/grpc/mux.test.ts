/** What peers of `inmesh/1` may do to a gRPC server, and it to them. */
import type * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { RESET } from '../../../src/mux/wire.ts'
import { grpcFrame } from '../../rigs/scripted-grpc-server.ts'
import { begin, itemBytes, type ShopHandlers, shopServer } from '../../rigs/shop.ts'
import { Answer, rawSession } from './raw-call.ts'
import { http2ShopClient, muxShopClient, serveShop, Witness } from './rig.ts'

const HEADERS = ['host', 'inventory', 'content-type', 'application/grpc']

async function serveMux(handlers: ShopHandlers | grpc.Server) {
  const { server } = await serveShop(handlers, {}, { transport: 'auto' })
  const session = await rawSession(server.port)
  const call = (method: string, headers: string[], body: Buffer | undefined, end: boolean) => {
    const answer = new Answer()
    const stream = session.request('POST', `/shop.Inventory/${method}`, [...HEADERS, ...headers], body, end, answer)
    return { answer, stream }
  }
  return { server, session, call }
}

const echo: ShopHandlers = {
  Get: ({ request: { sku } }, answer) => answer(null, { sku: sku ?? '' }),
}

describe('a call over inmesh/1', () => {
  it('is answered on the port that answers HTTP/2', async () => {
    const { server } = await serveMux(echo)
    for (const client of [muxShopClient(server.port), http2ShopClient(server.port)]) {
      expect((await begin(client, 'get').ended).answers).toMatchObject([{ sku: 'a' }])
    }
  })

  it.each([
    ['a prefix that announces more than is taken', grpcFrame(itemBytes('a'), { length: 5_000_000 }), '8'],
    ['bytes that are no message', grpcFrame(Buffer.from([0xff, 0xff])), '13'],
    ['no message', Buffer.alloc(0), '12'],
    ['two messages', Buffer.concat([grpcFrame(itemBytes('a')), grpcFrame(itemBytes('b'))]), '12'],
    ['half a message', grpcFrame(itemBytes('abc')).subarray(0, 7), '13'],
    ['half a prefix', Buffer.alloc(3), '13'],
  ])('ends with a status for %s', async (_name, body, status) => {
    const { call, server } = await serveMux(echo)
    const { answer } = call('Get', [], body, true)
    expect(await answer.ended.promise).toBe(status)
    await expect.poll(() => server.stats.inFlight).toBe(0)
    const good = call('Get', [], grpcFrame(itemBytes('a')), true)
    expect(await good.answer.ended.promise).toBe('0')
  })

  it('takes a message byte by byte, and several in one piece', async () => {
    const { call } = await serveMux({
      Upload: (upload, answer) => {
        let skus = ''
        upload.on('data', ({ sku }) => {
          skus += sku
        })
        upload.on('end', () => answer(null, { sku: skus }))
      },
    })
    const { answer, stream } = call('Upload', [], undefined, false)
    for (const byte of grpcFrame(itemBytes('a'))) stream.write(Uint8Array.of(byte))
    stream.write(Buffer.concat([grpcFrame(itemBytes('b')), grpcFrame(itemBytes('c'))]))
    stream.end()
    expect(await answer.ended.promise).toBe('0')
    expect(answer.bytes).toBe(grpcFrame(itemBytes('abc')).length)
  })

  it.each([
    ['is no POST', 'GET', [], '13'],
    ['has no valid deadline', 'POST', ['grpc-timeout', '-1S'], '13'],
    ['has two hosts', 'POST', ['host', 'other'], '13'],
    ['has no time left', 'POST', ['inmesh-timeout-ms', '0'], '4'],
  ] as const)('is refused if it %s, and runs no handler', async (_name, method, headers, status) => {
    const witness = new Witness()
    const { session } = await serveMux(witness.handlers)
    const answer = new Answer()
    const body = grpcFrame(itemBytes('a'))
    session.request(method, '/shop.Inventory/Get', [...HEADERS, ...headers], body, true, answer)
    expect(['reset', status]).toContain(await answer.ended.promise)
    expect(witness.begun).toEqual([])
  })

  it('that is reset at once runs no handler, and others are served', async () => {
    const witness = new Witness()
    const { server, call } = await serveMux({ ...witness.handlers, ...echo })
    for (let batch = 0; batch < 5; batch++) {
      for (let i = 0; i < 100; i++) call('Watch', [], grpcFrame(itemBytes('a')), true).stream.reset(RESET.CANCELLED)
      const { answer } = call('Get', [], grpcFrame(itemBytes('a')), true)
      expect(await answer.ended.promise).toBe('0')
    }
    expect(witness.begun).toEqual([])
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('hears of its cancellation, and of the end of its connection', async () => {
    const witness = new Witness()
    const { session, call } = await serveMux(witness.handlers)
    const chat = call('Chat', [], grpcFrame(itemBytes('a')), false)
    const watch = call('Watch', [], grpcFrame(itemBytes('a')), true)
    await expect.poll(() => witness.begun.length).toBe(2)
    chat.stream.reset(RESET.CANCELLED)
    await expect.poll(() => witness.cancelled).toEqual(['chat'])
    expect(watch.answer.status).toBe(0)
    session.destroy()
    await expect.poll(() => witness.cancelled).toEqual(['chat', 'watch'])
    expect(witness.aborted).toHaveLength(2)
  })

  it('waits with its answers for a caller that does not read', async () => {
    let written = 0
    const { session } = await serveMux({
      Watch: async (watch) => {
        for (; written < 200 && !watch.cancelled; written++) {
          if (!watch.write({ filler: Buffer.alloc(65_536) })) await new Promise((go) => watch.once('drain', go))
        }
        watch.end()
      },
    })
    const answer = new Answer()
    const unread: Buffer[] = []
    answer.dataArrived = (_stream, chunk) => void unread.push(chunk)
    const body = grpcFrame(itemBytes('a'))
    const stream = session.request('POST', '/shop.Inventory/Watch', HEADERS, body, true, answer)
    await expect.poll(() => unread.length).toBeGreaterThan(0)
    await expect.poll(() => written).toBeGreaterThan(2)
    for (let before = -1; before !== written; ) {
      before = written
      await new Promise((go) => setTimeout(go, 50))
    }
    expect(written).toBeLessThan(40)
    answer.dataArrived = (one, chunk) => one.read(chunk.length)
    for (const chunk of unread) stream.read(chunk.length)
    expect(await answer.ended.promise).toBe('0')
    expect(written).toBe(200)
  })

  it('obeys the limits of the Server: streams, messages, age', async () => {
    const server = shopServer(echo, {
      'grpc.max_concurrent_streams': 3,
      'grpc.max_receive_message_length': 10,
      'grpc.max_connection_age_ms': 1,
    } as grpc.ServerOptions)
    const { session, call } = await serveMux(server)
    expect(session.room).toBeLessThanOrEqual(3)
    const large = call('Get', [], grpcFrame(itemBytes('more than ten bytes')), true)
    expect(['8', 'reset']).toContain(await large.answer.ended.promise)
    await expect.poll(() => session.leaving).toBe(true)
  })
})
