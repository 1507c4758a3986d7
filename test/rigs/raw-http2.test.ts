import http2, { type Http2Server, type IncomingHttpHeaders } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FLAG, FRAME, frames, RawHttp2 } from './raw-http2.ts'

let server: Http2Server
let raw: RawHttp2
const seen: { headers: IncomingHttpHeaders; rstCode?: number }[] = []
const REQUEST = { ':method': 'POST', ':scheme': 'http', ':path': '/', ':authority': 'a' }

beforeEach(async () => {
  seen.length = 0
  server = http2.createServer()
  server.on('sessionError', () => {})
  server.on('stream', (stream, headers) => {
    const one: (typeof seen)[number] = { headers }
    seen.push(one)
    stream.on('error', () => {})
    stream.on('close', () => {
      one.rstCode = stream.rstCode
    })
    stream.on('data', () => {})
    stream.on('end', () => {
      if (stream.closed) return
      stream.respond({ ':status': 200 })
      stream.end('answer')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  raw = await RawHttp2.connect((server.address() as AddressInfo).port)
})

afterEach(async () => {
  await raw.close()
  await new Promise<void>((resolve) => server.close(() => resolve()))
})

describe('a raw HTTP/2 client', () => {
  it('makes requests with a header of any length, with CONTINUATION and DATA, and reads the answer', async () => {
    raw.write(
      frames.headers(1, { ...REQUEST, 'x-long': 'a'.repeat(1_000) }, 0),
      frames.continuation(1, { 'x-more': 'b' }, FLAG.endHeaders),
      frames.data(1, Buffer.from('body'), FLAG.endStream),
    )
    const answer = await raw.frame(({ type, streamId }) => type === FRAME.data && streamId === 1)
    expect(answer?.payload.toString()).toBe('answer')
    expect(seen[0]!.headers['x-long']).toHaveLength(1_000)
    expect(seen[0]!.headers['x-more']).toBe('b')
    const heads = raw.received.filter(({ type }) => type === FRAME.headers)
    expect(heads[0]!.payload[0]).toBe(0x88) // `:status: 200` of the static table
  })

  it('resets a stream', async () => {
    raw.write(frames.headers(1, REQUEST, FLAG.endHeaders), frames.reset(1, 8))
    await expect.poll(() => seen[0]?.rstCode).toBe(8)
  })

  it('has its PING and SETTINGS acknowledged, and acknowledges those of the server', async () => {
    raw.write(frames.ping(Buffer.from('12345678')), frames.settings({ 4: 100_000 }))
    const pong = await raw.frame(({ type, flags }) => type === FRAME.ping && flags === FLAG.ack)
    expect(pong?.payload.toString()).toBe('12345678')
    const isAck = ({ type, flags }: { type: number; flags: number }) => type === FRAME.settings && flags === FLAG.ack
    expect(await raw.frame(isAck)).toBeDefined()
    await expect.poll(() => raw.received.filter(isAck).length).toBe(2)
  })

  it('sends PRIORITY and WINDOW_UPDATE that are accepted, and sees the end when an increment is not', async () => {
    raw.write(frames.priority(3), frames.windowUpdate(0, 10), frames.ping())
    expect(await raw.frame(({ type }) => type === FRAME.ping)).toBeDefined()
    raw.write(frames.windowUpdate(0, 0))
    expect(await raw.frame(({ type }) => type === FRAME.goAway)).toBeDefined()
    expect(await raw.ends()).toBe(true)
  })

  it('says GOAWAY', async () => {
    const ended = new Promise((resolve) =>
      server.once('session', (session) => session.once('goaway', (code) => resolve(code))),
    )
    const other = await RawHttp2.connect((server.address() as AddressInfo).port)
    other.write(frames.goAway(0, 11))
    expect(await ended).toBe(11)
    await other.close()
  })
})
