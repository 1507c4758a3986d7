import { connect, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { serve } from '../rig.ts'

const UPGRADE = 'GET /ws HTTP/1.1\r\nhost: inventory\r\nconnection: upgrade\r\nupgrade: '
const switched = (protocol: string): string =>
  `HTTP/1.1 101 Switching Protocols\r\nupgrade: ${protocol}\r\nconnection: upgrade\r\n\r\n`
const NOT_FOUND = Buffer.from('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n')
const GOING_AWAY = Buffer.from([0x88, 0x02, 0x03, 0xe9])

async function upgraded(protocol: string, answered = true) {
  let theirs: Socket | undefined
  const { server } = await serve(() => {}, {
    onUpgrade: (_request, socket) => {
      theirs = socket as Socket
      // As a WebSocket library does when the other side has closed.
      theirs.on('end', () => theirs?.end()).resume()
      if (answered) socket.write(switched(protocol))
    },
  })
  const heard: Buffer[] = []
  const client = connect(server.port, '127.0.0.1', () => client.write(`${UPGRADE}${protocol}\r\n\r\n`))
  client.on('error', () => {})
  client.on('data', (bytes) => heard.push(bytes))
  await expect.poll(() => theirs !== undefined && (!answered || heard.length > 0)).toBe(true)
  return { server, client, theirs: () => theirs!, all: () => Buffer.concat(heard) }
}

describe('a drain with upgraded connections', () => {
  it('asks a WebSocket to close with 1001, and ends when it has closed', async () => {
    const { server, client, all } = await upgraded('websocket')
    client.on('data', (bytes) => bytes.includes(GOING_AWAY) && client.end())
    const report = await server.drain({ lameDuckMs: 0, graceMs: 60_000 })
    expect(all().subarray(-4)).toEqual(GOING_AWAY)
    expect(report).toMatchObject({ cancelled: 0 })
  })

  it('cuts a WebSocket that does not close when the grace is over', async () => {
    const { server, all } = await upgraded('websocket')
    expect(await server.drain({ lameDuckMs: 0, graceMs: 50 })).toMatchObject({ cancelled: 1 })
    await expect.poll(() => all().subarray(-4)).toEqual(GOING_AWAY)
  })

  it('asks a WebSocket that is answered only while the server finishes', async () => {
    const { server, theirs, all } = await upgraded('websocket', false)
    const draining = server.drain({ lameDuckMs: 0, graceMs: 60_000 })
    await expect.poll(() => server.state).toBe('finishing')
    // In two pieces, as some libraries write it.
    const head = switched('websocket')
    theirs().write(head.slice(0, 20))
    theirs().write(head.slice(20))
    await expect.poll(() => all().subarray(-4)).toEqual(GOING_AWAY)
    theirs().destroy()
    expect(await draining).toMatchObject({ cancelled: 0 })
  })

  it.each([
    ['125 bytes', Buffer.from([0x82, 125])],
    ['a length of two bytes', Buffer.from([0x82, 126, 0x01, 0x00])],
    ['a length of eight bytes', Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 1])],
    ['a mask', Buffer.from([0x82, 0x80 + 5, 1, 2, 3, 4])],
  ])('asks between two frames, never within one that is written in pieces: %s', async (_what, head) => {
    const { server, client, theirs, all } = await upgraded('websocket')
    client.on('data', () => all().includes(GOING_AWAY) && client.end())
    const length = { 2: 125, 4: 256, 10: 65_537, 6: 5 }[head.length]!
    const frame = Buffer.concat([head, Buffer.alloc(length, 0x20)])
    const text = Buffer.from([0x81, 1, 0x41])
    theirs().write(Buffer.concat([text, frame.subarray(0, 1)]))
    const draining = server.drain({ lameDuckMs: 0, graceMs: 60_000 })
    await expect.poll(() => server.state).toBe('finishing')
    theirs().write(frame.subarray(1, head.length + 1))
    theirs().write(Buffer.concat([frame.subarray(head.length + 1), text, text]))
    await expect.poll(() => all().subarray(-4)).toEqual(GOING_AWAY)
    expect(all().subarray(switched('websocket').length, -4)).toEqual(Buffer.concat([text, frame, text, text]))
    await draining
  })

  it('leaves one alone that the application closes, and one that is refused', async () => {
    for (const said of [Buffer.concat([Buffer.from(switched('websocket')), Buffer.from([0x88, 0])]), NOT_FOUND]) {
      const { server, theirs, all } = await upgraded('websocket', false)
      theirs().write(said)
      await expect.poll(() => all().length).toBe(said.length)
      await server.drain({ lameDuckMs: 0, graceMs: 50 })
      expect(all()).toEqual(said)
    }
  })

  it.each([
    ['another protocol', 'chat', true],
    ['a WebSocket that was not answered yet', 'websocket', false],
  ])('writes nothing into %s', async (_what, protocol, answered) => {
    const { server, all } = await upgraded(protocol, answered)
    await server.drain({ lameDuckMs: 0, graceMs: 50 })
    expect(all().includes(GOING_AWAY)).toBe(false)
  })
})
