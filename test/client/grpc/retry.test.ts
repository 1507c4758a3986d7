/** Which gRPC calls are tried again, how often, and that another attempt sends the same again. */
import { createServer, type Socket } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { FLAG, FRAME, frames, RawHttp2 } from '../../rigs/raw-http2.ts'
import type { GrpcScript, ScriptedGrpcCall } from '../../rigs/scripted-grpc-server.ts'
import { opened } from '../http/opened.ts'
import { until } from '../http/rig.ts'
import { GET, KINDS } from './kinds.ts'
import { answerWell, causeOf, type GrpcRigOptions, grpcFailure, grpcRigOver, itemOf, serveGrpc, stock } from './rig.ts'

const { UNAVAILABLE, UNKNOWN } = grpc.status
const busy: GrpcScript = async (call) => {
  await call.message()
  call.finish(UNAVAILABLE, 'busy')
}

/** Each of the scripts once, then the last. */
function inTurn(...scripts: GrpcScript[]): GrpcScript {
  return (call, headers, nth) => scripts[Math.min(nth, scripts.length - 1)]!(call, headers, nth)
}

describe('another attempt', () => {
  it('says how many came before it', async () => {
    for (const kind of [...KINDS, GET]) {
      const server = await serveGrpc(inTurn(busy, (call) => call.refuse(), answerWell))
      const rig = grpcRigOver([server.port])
      expect((await kind.run(rig.client, { idempotent: true })).error).toBeUndefined()
      const said = server.calls.map(({ headers }) => headers['grpc-previous-rpc-attempts'])
      expect(said).toEqual([undefined, '1', '2'])
    }
  })

  it('spends the limit only if the one before may have been executed', async () => {
    const refuse: GrpcScript = (call) => call.refuse()
    const server = await serveGrpc(inTurn(refuse, busy, refuse, refuse, busy, refuse, answerWell))
    const rig = grpcRigOver([server.port], { retry: { attempts: 3 } })
    expect((await rig.client.promises.get({ sku: 'a' })).sku).toBe('a')
    expect(server.streams).toBe(7)
    const stubborn = await serveGrpc(inTurn(refuse, busy, refuse, busy, refuse, busy, answerWell))
    const other = grpcRigOver([stubborn.port], { retry: { attempts: 3 } })
    const error = await grpcFailure(other.client.promises.get({ sku: 'a' }))
    expect([error.details, causeOf(error).attempts.length]).toEqual(['busy', 6])
  })

  it('is paid from the budget, also after one that was refused', async () => {
    for (const script of [busy, ((call) => call.refuse()) as GrpcScript]) {
      const server = await serveGrpc(script)
      const rig = grpcRigOver([server.port], { paidRetries: 0, retry: { budget: { ratio: 0.1 } } })
      for (const kind of [...KINDS, GET]) {
        expect((await kind.run(rig.client, { idempotent: true })).error?.code).toBe(UNAVAILABLE)
      }
      expect(server.streams).toBe(5)
    }
  })

  it('that the budget did not pay for is named in the error', async () => {
    const server = await serveGrpc((call) => call.refuse())
    const rig = grpcRigOver([server.port], { paidRetries: 0, retry: { budget: { ratio: 0.1 } } })
    const { message } = causeOf(await grpcFailure(rig.client.promises.get({ sku: 'a' })))
    expect(message).toMatch(/ in [\d.]+ ms: .*\(status UNAVAILABLE\).*; not tried again: the retry budget is used up$/)
  })

  it('follows the statuses that the policy names, and no others', async () => {
    const options: GrpcRigOptions = { retry: { attempts: 2, grpcStatuses: ['UNKNOWN'] } }
    for (const [code, streams] of [
      [UNKNOWN, 2],
      [UNAVAILABLE, 1],
    ] as const) {
      const server = await serveGrpc((call) => call.finish(code, 'no'))
      const rig = grpcRigOver([server.port], options)
      expect((await GET.run(rig.client)).error?.code).toBe(code)
      expect(server.streams).toBe(streams)
    }
  })

  it('is not waited for beyond the deadline', async () => {
    const server = await serveGrpc((call) => call.finish(UNAVAILABLE, 'busy', { 'grpc-retry-pushback-ms': '20000' }))
    const rig = grpcRigOver([server.port])
    const error = await grpcFailure(rig.client.promises.get({ sku: 'a' }, { timeout: '5s' }))
    expect([error.details, server.streams]).toEqual(['busy', 1])
  })

  const DECLARED: readonly [string, GrpcRigOptions, object, number][] = [
    ['nobody', {}, {}, 1],
    ['the document, by its name', { retry: { idempotent: ['shop.Inventory/Take'] } }, {}, 2],
    ['the document, by its service', { retry: { idempotent: ['shop.Inventory/*'] } }, {}, 2],
    ['the document, of another', { retry: { idempotent: ['shop.Inventory/Upload'] } }, {}, 1],
    ['the client', { client: { idempotent: ['take'] } }, {}, 2],
    ['the client, as the proto has it', { client: { idempotent: ['Take'] } }, {}, 2],
    ['the client, of all', { client: { idempotent: true } }, {}, 2],
    ['the call', {}, { idempotent: true }, 2],
    ['the client, but not the call', { client: { idempotent: true } }, { idempotent: false }, 1],
    ['the client, but the call is for once', { client: { idempotent: true } }, { retry: false }, 1],
  ]
  it.each(DECLARED)('of a method that %s calls idempotent', async (_who, options, call, streams) => {
    const server = await serveGrpc(inTurn(busy, answerWell))
    const rig = grpcRigOver([server.port], options)
    await rig.client.promises.take({ sku: 'a' }, call).catch(() => {})
    expect(server.streams).toBe(streams)
  })

  it('is not made of a refused call that is for once', async () => {
    const server = await serveGrpc((call) => call.refuse())
    const rig = grpcRigOver([server.port])
    for (const kind of [...KINDS, GET]) await kind.run(rig.client, { retry: false })
    expect(server.streams).toBe(5)
  })

  it('of a stream may follow headers that came with a bad status in one piece', async () => {
    let streams = 0
    const script = (socket: Socket, streamId: number): void => {
      const good = streams++ > 0
      const frame = [0, 0, 0, 0, stock('a').length, ...stock('a')]
      socket.write(
        Buffer.concat([
          frames.headers(streamId, { ':status': '200', 'content-type': 'application/grpc' }, FLAG.endHeaders),
          ...(good ? [frames.data(streamId, Buffer.from(frame))] : []),
          frames.headers(streamId, { 'grpc-status': good ? '0' : '14' }),
        ]),
      )
    }
    const rig = grpcRigOver([await rawServer(script)])
    expect((await KINDS[2]!.run(rig.client, { idempotent: true })).answers.map(({ sku }) => sku)).toEqual(['a'])
    expect(streams).toBe(2)
  })
})

/** HTTP/2 by hand: `script` is called for the HEADERS of each stream. */
async function rawServer(script: (socket: Socket, streamId: number) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    RawHttp2.serve(socket, (frame) => {
      if (frame.type === FRAME.headers) script(socket, frame.streamId)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened({
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  })
  return (server.address() as { port: number }).port
}

describe('what has been sent', () => {
  const items = (count: number, bytes: number) =>
    Array.from({ length: count }, (_, i) => ({ sku: `${i}`, filler: Buffer.alloc(bytes, i) }))

  it('is sent again in order and whole, though the first attempt took only some of it', async () => {
    for (const method of ['upload', 'chat'] as const) {
      let received: Buffer[] = []
      const server = await serveGrpc(
        inTurn(
          async (call) => {
            await call.message()
            await call.message()
            call.finish(UNAVAILABLE, 'busy')
          },
          async (call) => {
            received = await call.messages()
            call.answer(stock('all'))
          },
        ),
      )
      const rig = grpcRigOver([server.port])
      const all = items(5, 40_000)
      const sent = rig.client.promises[method](all, { idempotent: true })
      for await (const { sku } of method === 'upload'
        ? [await (sent as Promise<{ sku: string }>)]
        : (sent as AsyncIterable<{ sku: string }>)) {
        expect(sku).toBe('all')
      }
      expect(received.map((bytes) => itemOf(bytes))).toEqual(all)
      expect(server.streams).toBe(2)
    }
  })

  it('goes on with what is written after another attempt has begun', async () => {
    let received: Buffer[] = []
    const server = await serveGrpc(
      inTurn(busy, async (call) => {
        received = await call.messages()
        call.answer(stock('all'))
      }),
    )
    const rig = grpcRigOver([server.port], { client: { idempotent: true } })
    const ended = new Promise<unknown>((resolve) => {
      const call = rig.client.upload((error, value) => resolve(error ?? value?.sku))
      call.write({ sku: 'early' })
      void until(() => server.streams === 2).then(() => {
        call.write({ sku: 'late' })
        call.end()
      })
    })
    expect(await ended).toBe('all')
    expect(received.map((bytes) => itemOf(bytes).sku)).toEqual(['early', 'late'])
  })

  it('is no more than 256 KiB for another attempt: beyond it there is none, not even of a refused one', async () => {
    for (const end of [
      (call: ScriptedGrpcCall) => call.finish(UNAVAILABLE),
      (call: ScriptedGrpcCall) => call.refuse(),
    ]) {
      for (const [count, streams] of [
        [3, 2],
        [6, 1],
      ] as const) {
        const server = await serveGrpc(
          inTurn(async (call) => {
            for (let i = 0; i < count; i++) await call.message()
            // The client knows that the last of them has left.
            await new Promise<void>((resolve) => call.stream.session!.ping(() => resolve()))
            end(call)
          }, answerWell),
        )
        const rig = grpcRigOver([server.port])
        // It stays open, so that there is always something that might be sent.
        let go = (): void => {}
        const open = new Promise<void>((resolve) => {
          go = resolve
        })
        async function* all() {
          yield* items(count, 65_536)
          await open
        }
        const ended = rig.client.promises.upload(all(), { idempotent: true }).then(
          ({ sku }) => sku,
          (error: grpc.ServiceError) => error.code,
        )
        await until(() => rig.attempts.outcomes.length > 0 && (streams === 1 || server.streams === 2))
        go()
        expect(await ended).toBe(streams === 2 ? '0' : UNAVAILABLE)
        expect([server.streams, rig.attempts.outcomes.length]).toEqual([streams, streams])
      }
    }
  })
})
