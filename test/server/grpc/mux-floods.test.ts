/** Floods of frames of `inmesh/1` for a gRPC server, while an honest client goes on. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { frame, PREFACE, ping, request, reset, settings, window } from '../../mux/raw-mux.ts'
import { keepCalling } from '../../rigs/http2-floods.ts'
import { grpcFrame } from '../../rigs/scripted-grpc-server.ts'
import { begin, itemBytes } from '../../rigs/shop.ts'
import { muxShopClient, serveShop } from './rig.ts'

const get = (stream: number, content = 'application/grpc'): Buffer =>
  request(stream, {
    method: 'POST',
    path: '/shop.Inventory/Get',
    headers: [
      ['host', 'inventory'],
      ['content-type', content],
    ],
    body: grpcFrame(itemBytes('flood')),
  })

it.each<[string, (i: number) => Buffer, string]>([
  ['calls reset at once', (i) => Buffer.concat([get(i + 1), reset(i + 1)]), 'rapid-reset'],
  ['calls that must be reset', (i) => get(i + 1, '\n'), 'rapid-reset'],
  ['PING', () => ping(), 'ping-flood'],
  ['WINDOW', () => window(0, 1), 'frame-flood'],
  ['an impossible frame', () => frame(99, 0, 0), 'protocol-error'],
])('a flood of %s ends its connection, runs few handlers, and harms no other call', async (_what, next, reason) => {
  let flooded = 0
  const { server, events } = await serveShop(
    {
      Get: ({ request: { sku } }, answer) => {
        if (sku === 'flood') flooded += 1
        answer(null, { sku })
      },
    },
    {},
    { transport: 'auto' },
  )
  const honest = muxShopClient(server.port)
  const stop = keepCalling(async () => (await begin(honest, 'get', { items: [{ sku: 'honest' }] }).ended).code)
  const socket = connect(server.port, '127.0.0.1')
  socket.on('error', () => {}).resume()
  await once(socket, 'connect')
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write(Buffer.concat([PREFACE, settings(0)]))
  for (let i = 0; i < 100_000 && !socket.destroyed && !socket.readableEnded; i += 200) {
    socket.write(Buffer.concat(Array.from({ length: 200 }, (_, n) => next(i + n))))
    await new Promise((resolve) => setImmediate(resolve))
  }
  await closed
  await expect.poll(() => server.stats.inFlight).toBeLessThanOrEqual(1)
  expect((await stop()).filter((code) => code !== 0)).toEqual([])
  expect(flooded).toBe(0)
  expect(events.of('peer:refused').map((event) => event.reason)).toEqual([reason])
})
