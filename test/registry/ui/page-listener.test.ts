/** Connections of the page in plain text whose other end does nothing. */
import type { ServerResponse } from 'node:http'
import net from 'node:net'
import { expect, test } from 'vitest'
import type { RequestHandler } from '../../../src/registry/api/request-handler.ts'
import { PageListener } from '../../../src/registry/ui/page-listener.ts'

/** Longer than a busy machine lets a reader wait for its turn. */
const STUCK_MS = 2_000

test('a reader that takes nothing of its answer is cut off, and one that is slow is not', async () => {
  const cutOff = Promise.withResolvers<void>()
  const answers = {
    serve: async (request: { url: string }, response: ServerResponse) => {
      if (request.url === '/ui/long') response.once('close', cutOff.resolve)
      response.end(Buffer.alloc(request.url === '/ui/long' ? 64 * 1024 * 1024 : 10))
    },
  }
  const listener = new PageListener(answers as unknown as RequestHandler, STUCK_MS)
  const { port } = new URL(await listener.listen(0))
  const connect = (path: string): net.Socket => {
    const socket = net.connect(Number(port), '127.0.0.1')
    socket.on('error', () => {})
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    return socket
  }
  const stuck = connect('/ui/long').pause()
  const slow = connect('/ui/short')
  let parts = 0
  slow.on('data', () => {
    parts += 1
    if (parts < 20) setTimeout(() => slow.write('GET /ui/short HTTP/1.1\r\nHost: localhost\r\n\r\n'), 200)
  })
  await cutOff.promise
  // Reads what was under way, and its end.
  let taken = 0
  stuck.on('data', (chunk: Buffer) => {
    taken += chunk.length
  })
  stuck.resume()
  await new Promise((resolve) => stuck.once('close', resolve))
  expect(taken).toBeLessThan(64 * 1024 * 1024)
  await expect.poll(() => parts).toBe(20)
  slow.destroy()
  await listener.close()
})
