/** A call that is given up within its requests resets its stream, and never ends it before. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import type { ScriptedGrpcCall } from '../../rigs/scripted-grpc-server.ts'
import { until } from '../http/rig.ts'
import { answerWell, type GrpcRig, grpcRigOver, type Item, type Stock, serveGrpc, stock } from './rig.ts'

type Streamed = 'upload' | 'chat'
type Sending = grpc.ClientWritableStream<Item>
type GiveUp = (call: Sending, rig: GrpcRig) => void

/** How a server that waits for all requests takes them. */
class Receiver {
  received = 0
  taken: 'whole' | 'cut' | undefined = undefined

  readonly script = async (call: ScriptedGrpcCall): Promise<void> => {
    call.send(stock('a'))
    try {
      while ((await call.message()) !== undefined) this.received += 1
      this.taken = 'whole'
    } catch {
      this.taken = 'cut'
    }
    await call.stall()
  }

  async end(): Promise<string | undefined> {
    await until(() => this.taken !== undefined)
    return this.taken
  }
}

function begin({ client }: GrpcRig, kind: Streamed, options: grpc.CallOptions = {}): Sending {
  const call =
    kind === 'upload'
      ? client.upload(new grpc.Metadata(), options, () => {})
      : (client.chat(new grpc.Metadata(), options) as unknown as Sending)
  call.on('error', () => {})
  call.write({ sku: 'a' })
  return call
}

async function readAll(answers: AsyncIterable<Stock>): Promise<void> {
  for await (const _ of answers);
}

const WAYS: Readonly<Record<string, GiveUp>> = {
  'are cancelled': (call) => call.cancel(),
  'are cancelled after a write': (call) => {
    call.write({ sku: 'b' })
    call.cancel()
  },
  'are cancelled after writes that wait': (call) => {
    for (let i = 0; i < 10; i++) call.write({ sku: 'b', filler: Buffer.alloc(100_000) })
    call.cancel()
  },
  'are destroyed': (call) => call.destroy(),
}

describe.each(['upload', 'chat'] as const)('the requests of a call (%s)', (kind) => {
  it.each([...Object.entries(WAYS), ['lose their mesh', ((_call, rig) => rig.close()) as GiveUp] as const])(
    'that %s never look complete',
    async (_way, giveUp) => {
      const receiver = new Receiver()
      const rig = grpcRigOver([(await serveGrpc(receiver.script)).port])
      const call = begin(rig, kind)
      await until(() => receiver.received === 1)
      giveUp(call, rig)
      expect(await receiver.end()).toBe('cut')
    },
  )

  it('that outlast their deadline never look complete', async () => {
    const receiver = new Receiver()
    const server = await serveGrpc((call, headers, nth) =>
      nth === 0 ? answerWell(call, headers, nth) : receiver.script(call),
    )
    const rig = grpcRigOver([server.port])
    // It does not wait for a connection.
    await rig.client.promises.take({ sku: 'first' })
    begin(rig, kind, { deadline: Date.now() + 500 })
    expect(await receiver.end()).toBe('cut')
  })

  it.each(['throws', 'is aborted'] as const)('whose iterable %s never look complete', async (how) => {
    const receiver = new Receiver()
    const rig = grpcRigOver([(await serveGrpc(receiver.script)).port])
    const controller = new AbortController()
    async function* items(): AsyncGenerator<Item> {
      yield { sku: 'a' }
      await until(() => receiver.received === 1)
      if (how === 'throws') throw new Error('no more')
      controller.abort()
      await until(() => receiver.taken !== undefined)
    }
    const { promises } = rig.client
    const { signal } = controller
    if (kind === 'upload') await promises.upload(items(), { signal }).catch(() => {})
    else await readAll(promises.chat(items(), { signal })).catch(() => {})
    expect(await receiver.end()).toBe('cut')
  })

  it('that end are complete', async () => {
    const receiver = new Receiver()
    const rig = grpcRigOver([(await serveGrpc(receiver.script)).port])
    const call = begin(rig, kind)
    await until(() => receiver.received === 1)
    call.end()
    expect(await receiver.end()).toBe('whole')
  })
})

describe('the requests of a chat', () => {
  it.each(Object.entries(WAYS))('that %s in a listener of the answers never look complete', async (_way, giveUp) => {
    const receiver = new Receiver()
    const rig = grpcRigOver([(await serveGrpc(receiver.script)).port])
    const call = begin(rig, 'chat')
    call.once('data', () => giveUp(call, rig))
    expect(await receiver.end()).toBe('cut')
  })
})
