/**
 * Every piece of a user's code that a gRPC client calls runs in the async context of who made the
 * call.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Writable } from 'node:stream'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { deadPort } from '../../rigs/dead-port.ts'
import { until } from '../http/rig.ts'
import { answerWell, type GrpcRig, grpcEndpoint, grpcRigOver, itemOf, serveGrpc, stock } from './rig.ts'

const user = new AsyncLocalStorage<string>()

/** What was called, and for whom; wrong ones are listed by name. */
class Witness {
  readonly seen = new Set<string>()
  readonly wrong: string[] = []

  look(owner: string, what: string): void {
    this.seen.add(what)
    if (user.getStore() !== owner) this.wrong.push(`${what} of ${owner} ran for ${user.getStore()}`)
  }
}

interface Way {
  readonly deadlineMs?: number
  readonly cancelMs?: number
}

/**
 * Interceptor, generator, serializer and every listener of one call of each kind; resolves when it
 * is over.
 */
async function everything(rig: GrpcRig, owner: string, witness: Witness, way: Way = {}): Promise<void> {
  const look = (what: string): void => witness.look(owner, what)
  const passing =
    (what: string) =>
    <T>(value: T, pass: (value: T) => void): void => {
      look(what)
      pass(value)
    }
  const credentials = grpc.credentials.createFromMetadataGenerator((_options, done) => {
    look('generator')
    setImmediate(() => user.exit(() => done(null, new grpc.Metadata())))
  })
  const interceptor: grpc.Interceptor = (options, next) => {
    look('interceptor')
    return new grpc.InterceptingCall(next(options), {
      start(metadata, _listener, go) {
        look('interceptor start')
        go(metadata, {
          onReceiveMetadata: passing('interceptor metadata'),
          onReceiveMessage: passing('interceptor message'),
          onReceiveStatus: passing('interceptor status'),
        })
      },
      sendMessage: passing('interceptor send'),
      halfClose(go) {
        look('interceptor half-close')
        go()
      },
    })
  }
  const options = (): grpc.CallOptions => ({
    credentials,
    interceptors: [interceptor],
    ...(way.deadlineMs === undefined ? {} : { deadline: Date.now() + way.deadlineMs }),
  })
  const cancelLater = (call: { cancel(): void }): void => {
    if (way.cancelMs !== undefined) setTimeout(() => user.exit(() => call.cancel()), way.cancelMs)
  }
  const over: Promise<void>[] = []
  const watch = (name: string, call: NodeJS.EventEmitter, events: readonly string[]): void => {
    for (const event of events) call.on(event, () => look(`${name} ${event}`))
    over.push(new Promise((resolve) => call.on('status', () => setImmediate(resolve))))
    cancelLater(call as unknown as { cancel(): void })
  }
  user.run(owner, () => {
    const get = rig.client.get({ sku: owner }, new grpc.Metadata(), options(), () => look('get callback'))
    watch('get', get, ['metadata', 'status'])
    const upload = rig.client.upload(new grpc.Metadata(), options(), () => look('upload callback'))
    watch('upload', upload, ['metadata', 'status', 'finish'])
    upload.write({ sku: 'a' }, () => look('upload write'))
    end(upload, () => look('upload end'))
    const answers = rig.client.watch({ sku: owner }, new grpc.Metadata(), options())
    watch('watch', answers, ['metadata', 'data', 'end', 'status', 'error', 'close'])
    const chat = rig.client.chat(new grpc.Metadata(), options())
    watch('chat', chat, ['metadata', 'data', 'end', 'status', 'error', 'finish', 'close'])
    chat.write({ sku: 'a' }, () => look('chat write'))
    chat.write({ sku: 'b' }, () => look('chat second write'))
    end(chat, () => look('chat end'))
  })
  await Promise.all(over)
}

/** grpc-js's types know only `end()`, and its streams are Node's. */
function end(stream: unknown, done: () => void): void {
  ;(stream as Writable).end(done)
}

/** Two users at once, whose calls share what they can. */
async function interleaved(rig: GrpcRig, way?: Way): Promise<Witness> {
  const witness = new Witness()
  await Promise.all(['anna', 'ben', 'anna', 'ben'].map((owner) => everything(rig, owner, witness, way)))
  return witness
}

const WELL: readonly string[] = [
  'generator',
  ...['', ' start', ' metadata', ' message', ' status', ' send', ' half-close'].map((what) => `interceptor${what}`),
  ...['callback', 'metadata', 'status'].map((what) => `get ${what}`),
  ...['callback', 'metadata', 'status', 'finish', 'write', 'end'].map((what) => `upload ${what}`),
  ...['metadata', 'data', 'end', 'status', 'close'].map((what) => `watch ${what}`),
  ...['metadata', 'data', 'end', 'status', 'finish', 'close', 'write', 'second write'].map((what) => `chat ${what}`),
]

describe('the async context of a gRPC call', () => {
  it('is that of the caller in every callback, on the first connection and on one that another caller has opened', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    for (const connection of ['cold', 'warm']) {
      const { wrong, seen } = await interleaved(rig)
      expect(wrong, connection).toEqual([])
      expect([...seen], connection).toEqual(expect.arrayContaining([...WELL]))
    }
    expect(server.connections).toBe(1)
  })

  it('is kept while there is no endpoint yet', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([])
    const running = interleaved(rig)
    await until(() => rig.cluster.waiters === 16)
    user.run('registry', () => rig.cluster.add(grpcEndpoint(server.port)))
    expect((await running).wrong).toEqual([])
  })

  it('is kept over a retry, a refused connection and an answer that says no', async () => {
    const server = await serveGrpc(async (call, headers, nth) => {
      if (nth % 3 === 0) call.finish(14, 'not yet')
      else if (nth % 3 === 1) call.finish(5, 'no such')
      else await answerWell(call, headers, nth)
    })
    const rig = grpcRigOver([await deadPort(), server.port], { retry: { attempts: 3 } })
    for (let round = 0; round < 3; round++) expect((await interleaved(rig)).wrong).toEqual([])
  })

  it('is kept when a timer, a cancel from elsewhere, a reset or a broken connection ends the call', async () => {
    let mode: 'stall' | 'part' | 'reset' | 'break' = 'stall'
    const server = await serveGrpc(async (call, _headers, nth) => {
      if (mode === 'part') call.send(stock(itemOf(await call.message()).sku))
      if (mode === 'reset') call.reset()
      if (mode === 'break' && nth % 4 === 3) await call.break()
      await call.stall()
    })
    const rig = grpcRigOver([server.port], { retry: { attempts: 1 } })
    for (mode of ['stall', 'part'] as const) {
      expect((await interleaved(rig, { deadlineMs: 60 })).wrong).toEqual([])
      expect((await interleaved(rig, { cancelMs: 40 })).wrong).toEqual([])
    }
    mode = 'reset'
    expect((await interleaved(rig)).wrong).toEqual([])
    mode = 'break'
    const { wrong, seen } = await interleaved(rig, { deadlineMs: 2_000 })
    expect(wrong).toEqual([])
    expect([...seen]).toEqual(expect.arrayContaining(['watch error', 'chat error', 'get callback']))
  })

  it('of a write is that of who wrote it, if several write to one stream', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const chat = rig.client.chat()
    const witness = new Witness()
    chat.resume()
    for (const owner of ['anna', 'ben', 'anna']) {
      await new Promise<void>((resolve) =>
        user.run(owner, () =>
          chat.write({ sku: owner }, () => {
            witness.look(owner, 'write')
            resolve()
          }),
        ),
      )
    }
    chat.cancel()
    chat.on('error', () => {})
    expect(witness.wrong).toEqual([])
  })
})
