import { connect, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { serve } from './support.ts'

const UPGRADE = 'GET /ws HTTP/1.1\r\nhost: inventory\r\nconnection: upgrade\r\nupgrade: '
const switched = (protocol: string): string =>
  `HTTP/1.1 101 Switching Protocols\r\nupgrade: ${protocol}\r\nconnection: upgrade\r\n\r\n`
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
  return { server, client, all: () => Buffer.concat(heard) }
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
    expect(all().subarray(-4)).toEqual(GOING_AWAY)
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
