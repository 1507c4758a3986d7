/** A slow reader holds its writer, and nothing piles up in between. */
import type { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { until } from '../http/rig.ts'
import { answerWell, grpcRigOver, type Item, type Stock, serveGrpc, stock } from './rig.ts'

const PART = 65_536
/** 100 MB. */
const PARTS = 1_600
/** So much takes a while where others work, too. */
const LONG_MS = 120_000
/** What windows, sockets and streams of objects (16 each) hold, with room. */
const MOST_BETWEEN = 128

/** Until nothing has moved for a while. */
async function still(count: () => number): Promise<number> {
  for (let before = -1; ; ) {
    if (count() === before) return before
    before = count()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done)
      resolve()
    }
    stream.on('drain', done).on('close', done)
  })
}

async function all(answers: AsyncIterable<Stock>): Promise<string[]> {
  const skus: string[] = []
  for await (const { sku } of answers) skus.push(sku)
  return skus
}

describe('a slow reader', () => {
  it.each(['watch', 'chat'] as const)(
    'of 100 MB of answers (%s) holds its server',
    async (method) => {
      let sent = 0
      const server = await serveGrpc(async (call) => {
        await call.messages()
        const part = stock('a', 1, Buffer.alloc(PART))
        for (; sent < PARTS && !call.gone; sent++) {
          call.send(part)
          if (call.stream.writableNeedDrain) await drained(call.stream)
        }
        call.finish()
      })
      const rig = grpcRigOver([server.port], { timeoutMs: LONG_MS })
      const stream =
        method === 'watch' ? rig.client.promises.watch({ sku: 'a' }) : rig.client.promises.chat([{ sku: 'a' }])
      let read = 0
      let most = 0
      for await (const { filler } of stream) {
        expect(filler!.length).toBe(PART)
        read += 1
        if (read === 10 || read === 700) {
          const before = read
          expect((await still(() => sent)) - before).toBeLessThan(MOST_BETWEEN)
        }
        most = Math.max(most, sent - read)
      }
      expect([read, sent]).toEqual([PARTS, PARTS])
      expect(most).toBeLessThan(MOST_BETWEEN)
      expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
    },
    LONG_MS,
  )

  it.each(['upload', 'chat'] as const)(
    'of 100 MB of requests (%s) holds its client',
    async (method) => {
      let written = 0
      let read = 0
      let go = (): void => {}
      const wait = new Promise<void>((resolve) => {
        go = resolve
      })
      const server = await serveGrpc(async (call) => {
        call.stream.pause()
        await wait
        call.stream.resume()
        while ((await call.message()) !== undefined) read += 1
        call.answer(stock('all'))
      })
      const rig = grpcRigOver([server.port], { timeoutMs: LONG_MS })
      function* parts(): Generator<Item> {
        for (; written < PARTS; written++) yield { sku: 'a', filler: Buffer.alloc(PART) }
      }
      const ended =
        method === 'upload'
          ? rig.client.promises.upload(parts()).then(({ sku }) => [sku])
          : all(rig.client.promises.chat(parts()))
      await until(() => server.streams === 1 && written > 0)
      const held = await still(() => written)
      expect(held).toBeGreaterThan(0)
      expect(held).toBeLessThan(MOST_BETWEEN)
      go()
      expect(await ended).toEqual(['all'])
      expect([read, written]).toEqual([PARTS, PARTS])
    },
    LONG_MS,
  )

  it('holds nobody else on the same connection', async () => {
    const server = await serveGrpc(async (call, headers, nth) => {
      if (headers[':path'] !== '/shop.Inventory/Watch') return answerWell(call, headers, nth)
      const part = stock('a', 1, Buffer.alloc(PART))
      while (!call.gone) {
        call.send(part)
        if (call.stream.writableNeedDrain) await drained(call.stream)
      }
    })
    const rig = grpcRigOver([server.port])
    const slow = rig.client.promises.watch({ sku: 'a' }, { timeout: '1m' })
    await slow.next()
    for (let i = 0; i < 50; i++) expect((await rig.client.promises.get({ sku: 'a' })).sku).toBe('a')
    expect(server.connections).toBe(1)
    await slow.return()
    await until(() => rig.endpoint.pending === 0)
  })
})
