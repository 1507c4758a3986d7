/** Clients that attack an HTTP server by `inmesh/1`, while an honest client goes on. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { frame, PREFACE, ping, request, reset, settings, TYPE, window } from '../mux/raw-mux.ts'
import { MuxClient } from '../rigs/mux-client.ts'
import { type Served, serve } from './rig.ts'

/** A raw connection; answers are read and dropped. */
async function attacker(served: Pick<Served, 'server'>, reads = true): Promise<Socket> {
  const socket = connect(served.server.port, '127.0.0.1')
  socket.on('error', () => {})
  if (reads) socket.resume()
  await once(socket, 'connect')
  socket.write(Buffer.concat([PREFACE, settings(0)]))
  return socket
}

/** Sends until the server ends the connection. */
async function flood(socket: Socket, most: number, next: (i: number) => Buffer): Promise<number> {
  for (let i = 0; i < most; i += 200) {
    if (socket.destroyed || socket.readableEnded) return i
    socket.write(Buffer.concat(Array.from({ length: 200 }, (_, n) => next(i + n))))
    await new Promise((resolve) => setImmediate(resolve))
  }
  return most
}

async function attacked(): Promise<Served & { executed: () => number; honest: () => Promise<number> }> {
  let executed = 0
  const served = await serve(
    (incoming, response) => {
      executed += 1
      if (incoming.url === '/honest') response.end('ok')
    },
    {},
    { transport: 'auto' },
  )
  const client = await MuxClient.open(served.server.port)
  return {
    ...served,
    executed: () => executed,
    honest: async () => (await client.ask({ path: '/honest' }).done).status,
  }
}

test.each<[string, (i: number) => Buffer, string]>([
  ['streams reset at once', (i) => Buffer.concat([request(i + 1), reset(i + 1)]), 'rapid-reset'],
  ['requests that must be reset', (i) => request(i + 1, { headers: [['a', '\n']] }), 'rapid-reset'],
  ['PING', () => ping(), 'ping-flood'],
  ['WINDOW', () => window(0, 1), 'frame-flood'],
  ['an impossible frame', () => frame(99, 0, 0), 'protocol-error'],
  ['WINDOW of 0', () => window(0, 0), 'flow-control-error'],
])('a flood of %s ends its connection and no other, and is reported once', async (_what, next, reason) => {
  const { events, honest, ...served } = await attacked()
  const socket = await attacker(served)
  const closed = once(socket, 'close')
  expect(await flood(socket, 1_000_000, next)).toBeLessThan(1_000_000)
  expect(await honest()).toBe(200)
  socket.destroy()
  await closed
  expect(events.of('peer:refused').map((event) => event.reason)).toEqual([reason])
})

test('a request that breaks a rule is refused, counted, and seen by no handler', async () => {
  const { events, executed, honest, ...served } = await attacked()
  const socket = await attacker(served)
  socket.write(
    request(1, {
      headers: [
        ['host', 'a'],
        ['content-length', '5'],
      ],
      body: 'hello, and more',
    }),
  )
  await expect.poll(() => events.of('admission:refused')).toEqual([{ side: 'server', code: 'protocol-error' }])
  expect(executed()).toBe(0)
  expect(await honest()).toBe(200)
  socket.destroy()
})

test('a client that sends a request byte by byte is served', async () => {
  const { honest, ...served } = await attacked()
  const socket = await attacker(served, false)
  const answered = new Promise<void>((resolve) => {
    let answer = ''
    socket.on('data', (bytes) => {
      answer += bytes.toString('latin1')
      if (answer.includes('ok')) resolve()
    })
  })
  for (const byte of request(1, { path: '/honest' })) {
    socket.write(Buffer.from([byte]))
    await new Promise((resolve) => setImmediate(resolve))
  }
  await answered
  expect(await honest()).toBe(200)
  socket.destroy()
})

test('a client that does not read holds up no one, and few of its requests are executed', async () => {
  let executed = 0
  const answer = Buffer.alloc(15_000)
  const served = await serve(
    (incoming, response) => {
      executed += 1
      response.end(incoming.url === '/honest' ? 'ok' : answer)
    },
    {},
    { transport: 'auto' },
  )
  const client = await MuxClient.open(served.server.port)
  const socket = await attacker(served, false)
  socket.pause()
  socket.write(window(0, 1_000_000_000))
  // Until the connection ends, or the network takes no more because the server does not read.
  for (let i = 1; i < 100_000 && socket.writable && socket.writableLength < 100_000; i += 100) {
    socket.write(Buffer.concat(Array.from({ length: 100 }, (_, n) => request(i + n))))
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect((await client.ask({ path: '/honest' }).done).status).toBe(200)
  expect(executed).toBeLessThan(3_000)
  socket.destroy()
})

test('data beyond the window of a request that no handler reads end the connection', async () => {
  const { events, honest, ...served } = await attacked()
  const socket = await attacker(served)
  socket.write(request(1, { method: 'POST', path: '/unread', flags: 0 }))
  await flood(socket, 100_000, () => frame(TYPE.data, 0, 1, Buffer.alloc(16_384)))
  expect(await honest()).toBe(200)
  expect(events.of('peer:refused').map(({ reason }) => reason)).toEqual(['flow-control-error'])
  socket.destroy()
})
