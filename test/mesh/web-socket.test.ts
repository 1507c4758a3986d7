/** WebSockets between two members of a mesh: identity, documents, metrics, and how both leave. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocketServer, WebSocket as WsWebSocket } from 'ws'
import { currentCall, type Mesh, OptionsError } from '../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { Seen } from '../client/websocket/rig.ts'
import { errorOf, expectMistake } from './mistakes.ts'

let testMesh: TestMesh
let checkout: Mesh
const sockets = new WebSocketServer({ noServer: true })

beforeEach(async () => {
  testMesh = await startTestMesh()
  checkout = await testMesh.join('checkout')
})

afterEach(async () => {
  for (const one of sockets.clients) one.terminate()
  await testMesh.close()
})

/** Says who asks, then echoes. */
const chat = (name = 'chat', version?: string) =>
  testMesh.serve('chat', (_request, response) => response.end('no upgrade'), {
    ...(version !== undefined && { member: { version } }),
    server: {
      onUpgrade: (request, socket, head) => {
        const call = currentCall()
        sockets.handleUpgrade(request, socket, head, (one) => {
          one.send(`${name} ${call?.peer?.service} ${request.url}`)
          one.on('message', (data) => one.send(data))
        })
      },
    },
  })

test('a WebSocket crosses the mesh, knows who asks, and ends with 1001 when either side leaves', async () => {
  const instance = await chat()
  const seen = await new Seen(checkout.webSocket('chat', '/room', { query: { id: 7 } })).heard('message')
  expect(seen.messages).toEqual(['chat checkout /room?id=7'])
  const leaving = instance.mesh.close()
  await seen.heard('close')
  expect(seen.closed).toMatchObject({ code: 1001, wasClean: true })
  await leaving

  await chat()
  const again = await new Seen(checkout.webSocket('chat', '/room')).heard('message')
  await checkout.close()
  expect(again.closed).toMatchObject({ code: 1001, wasClean: true })
  expect((await errorOf(() => checkout.webSocket('chat'))) as object).toMatchObject({ code: 'closed' })
})

test('it counts as a call in flight of its peer, and as one that succeeded once it has closed', async () => {
  await chat()
  const seen = await new Seen(checkout.webSocket('chat', '/room')).heard('message')
  const inFlight = (): string | undefined =>
    /inmesh_client_requests_in_flight\{.*\} (\d+)/.exec(checkout.metrics())?.[1]
  expect(inFlight()).toBe('1')
  seen.socket.close()
  await seen.heard('close')
  await expect.poll(inFlight).toBe('0')
  expect(checkout.metrics()).toMatch(/inmesh_client_requests_total\{.*code="ok".*\} 1/)
})

test('documents decide about it as about any request: routes, fixed answers, intentions and limits', async () => {
  await chat('one', 'v1')
  await chat('two', 'v2')
  await testMesh.apply([
    {
      service: 'chat',
      allow: [{ from: 'checkout', paths: ['/rooms/*', '/closed'] }],
      subsets: { one: { version: 'v1' }, two: { version: 'v2' } },
      routes: [
        { name: 'closed', match: [{ path: '/closed' }], respond: { status: 410, body: 'gone' } },
        { name: 'canary', match: [{ path: '/rooms/{id}', headers: { 'x-canary': '1' } }], to: 'two' },
        { name: 'rest', to: 'one' },
      ],
    },
  ])
  const canary = checkout.webSocket('chat', '/rooms/1', { headers: { 'x-canary': '1' } })
  const others = checkout.webSocket('chat', '/rooms/1')
  expect((await new Seen(canary).heard('message')).messages).toEqual(['two checkout /rooms/1'])
  expect((await new Seen(others).heard('message')).messages).toEqual(['one checkout /rooms/1'])
  const fixed = await new Seen(checkout.webSocket('chat', '/closed')).heard('close')
  expect(fixed.error).toMatchObject({ status: 410 })
  const denied = await new Seen(checkout.webSocket('chat', '/secret')).heard('close')
  expect(denied.error).toMatchObject({ status: 403 })
})

test('the package ws gets in by mesh.createConnection', async () => {
  await chat()
  const socket = new WsWebSocket('ws://chat/room', { createConnection: checkout.createConnection('chat') })
  socket.on('error', () => {})
  const [data] = await new Promise<unknown[]>((resolve) => socket.once('message', (...given) => resolve(given)))
  expect(String(data)).toBe('chat checkout /room')
  const closed = new Promise<number>((resolve) => socket.once('close', resolve))
  await checkout.close()
  expect(await closed).toBe(1001)
})

test('wrong arguments are refused by name', async () => {
  const wrong: [string, () => unknown, RegExp][] = [
    ['service', () => checkout.webSocket('Chat!'), /a service name/],
    ['path', () => checkout.webSocket('chat', 'room'), /begins with '\/'/],
    ['path', () => checkout.webSocket('chat', '/a#b'), /without '#'/],
    ['protocols', () => checkout.webSocket('chat', '/', { protocols: ['a', 'A'] }), /each once/],
    ['protocols', () => checkout.webSocket('chat', '/', { protocols: 'a b' }), /without spaces/],
    ['protocol', () => checkout.webSocket('chat', '/', { protocol: 'a' } as never), /protocols/],
    ['headers', () => checkout.webSocket('chat', '/', { headers: { 'x-a': 'a\nb' } }), /control characters/],
    ['headers', () => checkout.webSocket('chat', '/', { headers: { 'Sec-WebSocket-Protocol': 'a' } }), /protocols/],
    ['timeout', () => checkout.webSocket('chat', '/', { timeout: -1 }), /a duration/],
    ['maxPayload', () => checkout.webSocket('chat', '/', { maxPayload: 0 }), /bytes/],
    ['retry', () => checkout.webSocket('chat', '/', { retry: true as never }), /false/],
    ['idempotent', () => checkout.webSocket('chat', '/', { idempotent: 'yes' as never }), /true or false/],
    ['key', () => checkout.webSocket('chat', '/', { key: '' }), /text/],
    ['signal', () => checkout.webSocket('chat', '/', { signal: {} as never }), /AbortSignal/],
    ['service', () => checkout.createConnection('Chat!'), /a service name/],
    ['headers', () => checkout.createConnection('chat', { headers: {} } as never), /unknown key/],
  ]
  for (const [field, work, valid] of wrong) expectMistake(await errorOf(work), field, valid)
  expect(() => checkout.webSocket('chat', '/', 'chat.v1' as never)).toThrow(OptionsError)
  expect(() => checkout.webSocket('chat', '/', ['chat.v1'] as never)).toThrow(/\{ protocols \}/)
})
