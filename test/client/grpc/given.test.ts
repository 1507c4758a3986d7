/** What a gRPC call is given is honoured or refused: nothing is dropped in silence. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { KINDS } from './kinds.ts'
import { answerWell, grpcRigOver, serveGrpc } from './rig.ts'

const metadata = new grpc.Metadata()
const ignore = (): void => {}
/** As plain JavaScript calls them. */
type Loose = Record<'take' | 'upload' | 'watch' | 'chat', (...args: unknown[]) => unknown>

async function rig(interceptors?: grpc.Interceptor[]) {
  const server = await serveGrpc(answerWell)
  return grpcRigOver([server.port], interceptors === undefined ? {} : { client: { interceptors } })
}

describe('the options of a call with a callback', () => {
  const { signal } = new AbortController()
  it.each([
    ['timeout', { timeout: 100 }, 'grpc: timeout: unknown key; calls with a callback have deadline'],
    ['signal', { signal }, 'grpc: signal: unknown key; calls with a callback have cancel()'],
    ['idempotent', { idempotent: true }, 'grpc: idempotent: unknown key; it is an option of promises'],
    ['metadata', { metadata }, 'grpc: metadata: unknown key; it is an option of promises'],
    ['deadlien', { deadlien: 1 }, 'deadline'],
  ])('that grpc-js would ignore are refused at the call: %s', async (_name, options, message) => {
    const { client } = await rig()
    const loose = client as unknown as Loose
    for (const call of [
      () => loose.take({ sku: 'a' }, options, ignore),
      () => loose.take({ sku: 'a' }, metadata, options, ignore),
      () => loose.upload(options, ignore),
      () => loose.watch({ sku: 'a' }, options),
      () => loose.watch({ sku: 'a' }, metadata, options),
      () => loose.chat(options),
    ]) {
      expect(call).toThrow(message)
    }
  })

  it('that have no effect are told once in a warning, and the call goes on', async () => {
    const { client } = await rig()
    const loose = client as unknown as Loose
    const warnings: string[] = []
    const hear = (warning: Error): void => {
      if (warning.message.includes('authorization')) warnings.push(warning.message)
    }
    process.on('warning', hear)
    for (let i = 0; i < 2; i++) await new Promise((done) => loose.take({ sku: 'a' }, { authorization: 'token' }, done))
    await new Promise(setImmediate)
    process.off('warning', hear)
    expect(warnings).toEqual([expect.stringContaining("metadata is given as grpc-js's Metadata")])
  })

  it('are no callback and no Metadata of another copy of grpc-js', async () => {
    const { client } = await rig([])
    const loose = client as unknown as Loose
    expect(() => loose.watch({ sku: 'a' }, ignore)).toThrow('has no callback: it returns a stream')
    expect(() => loose.chat(metadata, ignore)).toThrow('has no callback: it returns a stream')
    const foreign = { getMap: () => ({}), clone: () => foreign }
    for (const call of [() => loose.take({ sku: 'a' }, foreign, ignore), () => loose.watch({ sku: 'a' }, foreign)]) {
      expect(call).toThrow('grpc: metadata: is of another copy of grpc-js')
    }
  })

  it('may be undefined, and may be those of an interceptor', async () => {
    const seen: unknown[] = []
    const reading: grpc.Interceptor = (options, next) => {
      seen.push((options as { tenant?: unknown }).tenant)
      return new grpc.InterceptingCall(next(options))
    }
    const { client } = await rig()
    const intercepted = (await rig([reading])).client
    for (const kind of KINDS) {
      const none = { deadline: undefined, timeout: undefined } as object
      expect((await kind.begin(client, none).ended).error).toBeUndefined()
      expect((await kind.begin(intercepted, { tenant: 't' } as object).ended).error).toBeUndefined()
      expect((await kind.begin(client, { interceptors: [reading], tenant: 'u' } as object).ended).error).toBeUndefined()
    }
    expect(seen).toEqual(KINDS.flatMap(() => ['t', 'u']))
  })
})

describe('the arguments of a promise', () => {
  it.each([
    ['options behind metadata', [metadata, { timeout: 1_000 }], 'a third argument'],
    ['a callback behind options', [{}, ignore], 'a third argument, a function; it has no callback'],
    ['metadata as options', [metadata], 'got Metadata; it is given as { metadata }'],
  ])('are refused if there is no place for them: %s', async (_name, more, message) => {
    const { client } = await rig()
    const promises = client.promises as unknown as Loose
    for (const name of ['take', 'upload', 'watch', 'chat'] as const) {
      const request = name === 'upload' || name === 'chat' ? [{ sku: 'a' }] : { sku: 'a' }
      const call = async (): Promise<unknown> => {
        const made = promises[name](request, ...more)
        if (name === 'take' || name === 'upload') return made
        for await (const answer of made as AsyncIterable<unknown>) return answer
        return undefined
      }
      await expect(call()).rejects.toThrow(message)
    }
  })
})
