/** TCP through the mesh: two members of one registry, over mTLS. */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import { isMeshError } from '../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { deadPort } from '../rigs/dead-port.ts'

let testMesh: TestMesh
const closers: (() => unknown)[] = []

beforeEach(async () => {
  testMesh = await startTestMesh()
})
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
  await testMesh.close()
})

/** A plain TCP server, as a database would be. */
async function target(serve: (socket: Socket) => void): Promise<{ address: string; server: Server }> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    serve(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = server.address() as { port: number }
  return { address: `127.0.0.1:${port}`, server }
}

async function pair(serving: Parameters<Mesh['listen']>[1], options?: object): Promise<[redis: Mesh, checkout: Mesh]> {
  const redis = await testMesh.join('redis')
  await (redis.listen as (...given: unknown[]) => Promise<unknown>)('redis', serving, ...(options ? [options] : []))
  return [redis, await testMesh.join('checkout')]
}

async function failureOf(socket: Socket): Promise<unknown> {
  const [error] = await once(socket, 'error')
  return error
}

describe('mesh.connect and mesh.listen', () => {
  it('give a handler and its caller one connection, over mTLS', async () => {
    const [, checkout] = await pair((socket: Socket) => socket.pipe(socket))
    const socket = checkout.connect('redis')
    expect([socket.connecting, socket.pending, socket.readyState]).toEqual([true, true, 'opening'])
    socket.write('written before it is connected; ')
    await once(socket, 'connect')
    expect([socket.connecting, socket.readyState, socket.remoteAddress]).toEqual([false, 'open', '127.0.0.1'])
    const closed = once(socket, 'close')
    socket.end('and after')
    expect(await text(socket)).toBe('written before it is connected; and after')
    expect([socket.bytesWritten, socket.bytesRead]).toEqual([41, 41])
    await closed
    expect(socket.readyState).toBe('closed')
  })

  it('forward to a target', async () => {
    const { address } = await target((socket) => socket.pipe(socket))
    const [, checkout] = await pair({ target: address } as never)
    const socket = checkout.connect('redis')
    socket.end('PING')
    expect(await text(socket)).toBe('PING')
  })

  it('say that no target could be reached, and that nothing was sent', async () => {
    const [redis, checkout] = await pair({ target: `127.0.0.1:${await deadPort()}` } as never)
    const error = await failureOf(checkout.connect('redis'))
    expect(isMeshError(error) && [error.code, error.sent, error.method]).toEqual(['connect-failed', false, 'connect'])
    expect(String(error)).toMatch(/it could not connect to its target/)
    expect(redis.events().some(({ name }) => name === 'target:unreachable')).toBe(true)
  })
})
