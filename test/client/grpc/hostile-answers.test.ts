/** A hostile peer answers: what its caller gets, and what the calls beside it lose. */
import { once } from 'node:events'
import { gzipSync } from 'node:zlib'
import { Metadata, status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { bomb } from '../../rigs/bomb.ts'
import type { GrpcScript } from '../../rigs/scripted-grpc-server.ts'
import { GET, KINDS } from './kinds.ts'
import { answerWell, type GrpcRig, grpcRigOver, type Stock, serveGrpc, stock } from './rig.ts'

/** Answers every call as `attack` says, but those of {@link goesOn}. */
async function besides(attack: GrpcScript): Promise<GrpcRig> {
  const server = await serveGrpc(async (call, headers, nth) => {
    if (headers['x-good'] === undefined) await attack(call, headers, nth)
    else await answerWell(call, headers, nth)
  })
  return grpcRigOver([server.port])
}

async function goesOn(rig: GrpcRig): Promise<void> {
  const metadata = new Metadata()
  metadata.set('x-good', 'yes')
  expect(await rig.client.promises.get({ sku: 'good' }, { metadata })).toMatchObject({ sku: 'good' })
}

const NO_STATUS = ['', 'abc', '0x0', '-1', '-0', '2.5', '99', '1e0', '0b0', 'Infinity', '9'.repeat(400), '0, 13']

describe('a status', () => {
  it.each(NO_STATUS)('of %j is UNKNOWN, never OK', async (said) => {
    const rig = await besides(async (call) => {
      await call.messages()
      call.send(stock('a'))
      call.finish(0, '', { 'grpc-status': said })
    })
    for (const kind of [...KINDS, GET]) {
      const { error } = await kind.run(rig.client)
      expect([kind.name, said, error?.code]).toEqual([kind.name, said, status.UNKNOWN])
    }
    await goesOn(rig)
  })
})

/** Taken, or told to be too much by either side. */
const ENDS_OF_FLOODS = [undefined, status.RESOURCE_EXHAUSTED, status.UNKNOWN, status.UNAVAILABLE, status.INTERNAL]

describe('metadata', () => {
  it('of bytes that are no base64 harms nothing', async () => {
    const bad = { 'x-a-bin': '!!!=?', 'x-b-bin': ['====', 'AA=A', '%00'], 'grpc-status-details-bin': '\xff\xfe' }
    const rig = await besides(async (call) => {
      await call.messages()
      call.respond(bad)
      call.send(stock('a'))
      call.finish(0, '', bad)
    })
    for (const kind of [...KINDS, GET]) {
      const { error, answers } = await kind.run(rig.client)
      expect([kind.name, error, answers.length]).toEqual([kind.name, undefined, 1])
    }
    await goesOn(rig)
  })

  it.each([
    ['of 1,000 entries', Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`x-${i}`, 'v']))],
    ['of 100 KB', { 'x-long': 'v'.repeat(100_000) }],
    ['of 5,000 values of one name', { 'x-many': Array.from({ length: 5_000 }, () => 'v') }],
    ['with names of Object.prototype', { __proto__: 'a', constructor: 'b', 'has-own-property': 'c', tostring: 'd' }],
  ])('%s, in head or trailers, fails its own call at most', async (_what, flood) => {
    for (const where of ['head', 'trailers', 'both'] as const) {
      const rig = await besides(async (call) => {
        await call.messages()
        call.respond(where === 'trailers' ? {} : flood)
        call.send(stock('a'))
        call.finish(0, '', where === 'head' ? {} : flood)
      })
      for (const kind of [...KINDS, GET]) {
        const { error } = await kind.run(rig.client)
        expect(ENDS_OF_FLOODS).toContain(error?.code)
      }
      await goesOn(rig)
    }
  })
})

describe('a length prefix', () => {
  it('that announces 4 GB is RESOURCE_EXHAUSTED, before anything of it is kept', async () => {
    const rig = await besides(async (call) => {
      await call.messages()
      call.send(Buffer.from('abc'), { length: 0xff_ff_ff_ff })
    })
    for (const kind of [...KINDS, GET]) {
      const { error } = await kind.run(rig.client)
      expect([kind.name, error?.code]).toEqual([kind.name, status.RESOURCE_EXHAUSTED])
    }
    await goesOn(rig)
  })

  it('that announces more than follows is no answer, though the status is OK', async () => {
    const rig = await besides(async (call) => {
      await call.messages()
      call.send(stock('whole'))
      call.send(stock('cut'), { length: 100 })
      call.finish()
    })
    for (const kind of [...KINDS, GET]) {
      const { error, answers } = await kind.run(rig.client)
      expect([kind.name, error?.code]).toEqual([kind.name, status.INTERNAL])
      expect(error!.details).toMatch(/ends within a message/)
      expect(answers.map(({ sku }) => sku)).toEqual(kind.answersOnce ? [] : ['whole'])
    }
    await goesOn(rig)
  })
  it('of which a part only arrives is no answer, though the status is OK', async () => {
    const rig = await besides(async (call) => {
      await call.messages()
      call.send(stock('whole'))
      call.write(Buffer.of(0, 0, 0))
      call.finish()
    })
    for (const kind of [...KINDS, GET]) {
      const { error } = await kind.run(rig.client)
      expect([kind.name, error?.code]).toEqual([kind.name, status.INTERNAL])
    }
    await goesOn(rig)
  })
})

describe('a compressed message', () => {
  it('of 200 MB in 200 KB is RESOURCE_EXHAUSTED, and takes no memory', async () => {
    const bytes = await bomb(209_715_200)
    const rig = await besides(async (call) => {
      await call.messages()
      call.respond({ 'grpc-encoding': 'gzip' })
      call.send(bytes, { compressed: true })
      call.finish()
    })
    await goesOn(rig)
    const before = process.memoryUsage().arrayBuffers
    for (const kind of [...KINDS, GET]) {
      const { error } = await kind.run(rig.client)
      expect([kind.name, error?.code]).toEqual([kind.name, status.RESOURCE_EXHAUSTED])
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100_000_000)
    await goesOn(rig)
  })

  it('is inflated when it is read, so that many take no memory', async () => {
    const bytes = gzipSync(stock('a', 1, Buffer.alloc(4_000_000)))
    const most = 100
    const rig = await besides(async (call) => {
      await call.messages()
      call.respond({ 'grpc-encoding': 'gzip' })
      for (let sent = 0; sent < most; sent++) call.send(bytes, { compressed: true })
      call.finish()
    })
    await goesOn(rig)
    const before = process.memoryUsage().arrayBuffers
    const stream = rig.client.watch({ sku: 'a' })
    const [first] = (await once(stream, 'data')) as [Stock]
    stream.pause()
    // Calls on the same connection, so what was sent before has arrived.
    for (let i = 0; i < 100; i++) await goesOn(rig)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100_000_000)
    let read = first.filler!.length
    for await (const each of stream) read += (each as Stock).filler!.length
    expect(read).toBe(most * 4_000_000)
  })
})
