/** Services that break the protocol of an open WebSocket, and what their callers see. */
import { hash } from 'node:crypto'
import type { Socket } from 'node:net'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { WebSocket as WsWebSocket } from 'ws'
import { makeConnector } from '../../../src/client/http/wire/create-connection.ts'
import type { Rig } from '../http/rig.ts'
import { chat, rigTo, webSocket } from './rig.ts'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const FIN = 0x80
const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10] as const

/** `first`: FIN, reserved bits and opcode. `length`: what the frame claims. */
function frame(first: number, payload: Buffer | string = '', { masked = false, length = -1 } = {}): Buffer {
  const bytes = Buffer.from(payload as string)
  const said = length < 0 ? bytes.length : length
  const head = Buffer.alloc(said < 126 ? 2 : said < 65_536 ? 4 : 10)
  head[0] = first
  head[1] = (masked ? 0x80 : 0) | (said < 126 ? said : said < 65_536 ? 126 : 127)
  if (said >= 65_536) head.writeBigUInt64BE(BigInt(said), 2)
  else if (said >= 126) head.writeUInt16BE(said, 2)
  return Buffer.concat([head, ...(masked ? [Buffer.alloc(4)] : []), bytes])
}

function closeFrame(code: number, reason = ''): Buffer {
  const payload = Buffer.alloc(2 + reason.length)
  payload.writeUInt16BE(code)
  payload.write(reason, 2)
  return frame(FIN | CLOSE, payload)
}

/** Opens every WebSocket, and does what `then` says with its connection. */
async function serving(then: (socket: Socket) => void): Promise<{ rig: Rig; received: () => Buffer }> {
  const parts: Buffer[] = []
  const service = await chat({
    refuse: (request, socket) => {
      const accept = hash('sha1', `${request.headers['sec-websocket-key']}${GUID}`, 'base64')
      const head = ['HTTP/1.1 101 Switching Protocols', 'upgrade: websocket', 'connection: upgrade']
      socket.write(`${head.join('\r\n')}\r\nsec-websocket-accept: ${accept}\r\n\r\n`)
      socket.on('data', (part: Buffer) => parts.push(part)).on('end', () => socket.end())
      then(socket)
      return true
    },
  })
  return { rig: await rigTo([service]), received: () => Buffer.concat(parts) }
}

const BROKEN: Readonly<Record<string, readonly Buffer[]>> = {
  'a masked frame': [frame(FIN | TEXT, 'hello', { masked: true })],
  'text that is not UTF-8': [frame(FIN | TEXT, Buffer.from([0xff, 0xfe]))],
  'text whose parts are not UTF-8': [frame(TEXT, Buffer.from([0xc3])), frame(FIN | CONTINUATION, 'a')],
  'a reserved bit': [frame(FIN | 0x40 | TEXT, 'hello')],
  'an unknown opcode': [frame(FIN | 3, 'hello')],
  'an unknown control frame': [frame(FIN | 11)],
  'a ping in parts': [frame(PING, 'a')],
  'a ping of 126 bytes': [frame(FIN | PING, 'a'.repeat(126))],
  'the end of a message that never began': [frame(FIN | CONTINUATION, 'a')],
  'a message within another': [frame(TEXT, 'a'), frame(FIN | TEXT, 'b')],
  'a length of 2 ** 63': [Buffer.from([FIN | BINARY, 127, 0x80, 0, 0, 0, 0, 0, 0, 0])],
  'a close frame of one byte': [frame(FIN | CLOSE, 'a')],
  'a close frame with the code 1005': [closeFrame(1005)],
  'a close frame whose reason is not UTF-8': [frame(FIN | CLOSE, Buffer.from([3, 232, 0xff]))],
}

describe('a service that sends', () => {
  it.each(Object.keys(BROKEN))('%s loses its WebSocket, and nothing else', async (what) => {
    const { rig } = await serving((socket) => socket.write(Buffer.concat([...BROKEN[what]!])))
    const seen = await webSocket(rig).heard('close')
    expect(seen.messages).toEqual([])
    await expect.poll(() => [rig.transport.connections, rig.endpoint.pending]).toEqual([0, 0])
    expect(rig.attempts.outcomes).toHaveLength(1)
  })

  it('messages in parts, with pings between them, is heard, and gets its pongs', async () => {
    const part = (at: number) => Buffer.from(`${at},`)
    const { rig, received } = await serving((socket) => {
      socket.write(frame(TEXT, part(0)))
      for (let i = 1; i < 500; i++)
        socket.write(Buffer.concat([frame(FIN | PING, String(i)), frame(CONTINUATION, part(i))]))
      socket.write(frame(FIN | CONTINUATION))
      socket.write(Buffer.concat([frame(FIN | PONG, 'unasked'), frame(BINARY), frame(FIN | CONTINUATION, 'x')]))
    })
    const seen = await webSocket(rig).heard('message', 2)
    expect(seen.messages[0]).toBe(Array.from({ length: 500 }, (_, i) => `${i},`).join(''))
    await expect.poll(() => received().length).toBeGreaterThan(499 * 7)
    // Masked, with the bytes of the ping.
    expect(received()[0]).toBe(FIN | PONG)
    seen.socket.close()
  })

  it('every byte alone is heard as whole messages', async () => {
    const all = Buffer.concat([
      frame(FIN | TEXT, 'grüße'),
      frame(TEXT, 'a'.repeat(200)),
      frame(FIN | CONTINUATION, 'b'),
    ])
    const { rig } = await serving((socket) => {
      socket.setNoDelay(true)
      let at = 0
      const next = (): void => {
        if (at < all.length) socket.write(all.subarray(at, ++at), () => setImmediate(next))
      }
      next()
    })
    const seen = await webSocket(rig).heard('message', 2)
    expect(seen.messages).toEqual(['grüße', `${'a'.repeat(200)}b`])
    seen.socket.close()
  })

  it.each([1000, 1001, 1011, 1012, 3000, 4999])('the close code %i is heard, and is a good end', async (code) => {
    const { rig } = await serving((socket) => {
      socket.write(closeFrame(code, 'why'))
      socket.once('data', () => socket.end())
    })
    const seen = await webSocket(rig).heard('close')
    expect(seen.events).toEqual(['open', 'close'])
    expect(seen.closed).toMatchObject({ code, reason: 'why', wasClean: true })
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
  })

  it('a frame that claims 1 TB is refused, before anything of it is kept', async () => {
    let sent = 0
    const { rig } = await serving((socket) => {
      socket.write(frame(FIN | BINARY, '', { length: 2 ** 40 }))
      const more = (): void => {
        if (socket.destroyed || sent > 400_000_000) return
        sent += 1_000_000
        socket.write(Buffer.alloc(1_000_000), more)
      }
      more()
    })
    const seen = await webSocket(rig, '/room', { maxPayload: 1_000_000 }).heard('close')
    expect(seen.messages).toEqual([])
    expect(sent).toBeLessThan(100_000_000)
    await expect.poll(() => rig.transport.connections).toBe(0)
  })

  it.each([
    ['a close frame and keeps the connection', [6], closeFrame(1000, 'bye'), 1000],
    ['no answer to ours', [6, 31], Buffer.alloc(0), 1006],
  ] as const)('%s, is left after a bound', async (_what, seconds, bytes, code) => {
    const { rig, received } = await serving((socket) => {
      socket.write(Buffer.concat([frame(FIN | TEXT, 'hello'), bytes]))
      // It lives, and answers pings.
      const timer = setInterval(() => socket.write(frame(FIN | PONG)), 10)
      socket.removeAllListeners('end').on('close', () => clearInterval(timer))
    })
    const seen = await webSocket(rig).heard('message')
    if (bytes.length === 0) seen.socket.close(1000)
    await expect.poll(() => received()[0]).toBe(FIN | CLOSE)
    const at = rig.transport.clock.now()
    const now = vi.spyOn(rig.transport.clock, 'now')
    onTestFinished(() => now.mockRestore())
    for (const [i, second] of [0, ...seconds].entries()) {
      expect(rig.transport.connections).toBe(1)
      if (i === seconds.length) expect(seen.closed).toBeUndefined()
      now.mockReturnValue(at + second * 1_000)
      rig.transport.sweep()
    }
    await seen.heard('close')
    expect(seen.closed).toMatchObject({ code })
    await expect.poll(() => [rig.transport.connections, rig.endpoint.pending]).toEqual([0, 0])
  })
})

describe('the package ws, through createConnection', () => {
  it.each(Object.keys(BROKEN))('closes a WebSocket with %s', async (what) => {
    const { rig } = await serving((socket) => socket.write(Buffer.concat([...BROKEN[what]!])))
    const socket = new WsWebSocket('ws://chat/room', { createConnection: makeConnector(rig, undefined) })
    const messages: unknown[] = []
    socket.on('message', (data) => messages.push(data)).on('error', () => {})
    const code = await new Promise((resolve) => socket.on('close', resolve))
    expect([messages, code]).toEqual([[], expect.any(Number)])
    await expect.poll(() => [rig.transport.connections, rig.endpoint.pending]).toEqual([0, 0])
    expect(rig.attempts.outcomes).toHaveLength(1)
  })

  it('answers pings of the service, and hears its pongs and code', async () => {
    const { rig, received } = await serving((socket) => {
      socket.write(Buffer.concat([frame(FIN | PING, 'are you there'), frame(FIN | PONG, 'yes')]))
      setTimeout(() => socket.write(closeFrame(4321, 'enough')), 50)
    })
    const socket = new WsWebSocket('ws://chat/room', { createConnection: makeConnector(rig, undefined) })
    const heard: string[] = []
    socket.on('ping', (data) => heard.push(`ping ${data}`)).on('pong', (data) => heard.push(`pong ${data}`))
    await new Promise((resolve) => socket.on('close', (code, reason) => resolve(heard.push(`close ${code} ${reason}`))))
    expect(heard).toEqual(['ping are you there', 'pong yes', 'close 4321 enough'])
    expect(received()[0]).toBe(FIN | PONG)
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
  })
})
