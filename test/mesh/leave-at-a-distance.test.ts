/**
 * An instance leaves in order while calls are on a way of 60 ms to it, there and back: none is
 * lost, whether or not it may be repeated.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { Shop, shopServer } from '../rigs/shop.ts'

const WAY_MS = 60
/** Connections to it are passed on to the same port of 127.0.0.1. */
const DISTANT = '127.0.0.2'

let test: TestMesh
const ways: Server[] = []
const sockets = new Set<Socket>()

beforeEach(async () => {
  test = await startTestMesh()
})

afterEach(async () => {
  await test.close()
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  for (const way of ways.splice(0)) way.close()
})

function pass(from: Socket, to: Socket): void {
  sockets.add(from)
  from.on('data', (data) => setTimeout(() => to.write(data), WAY_MS))
  from.on('error', () => {})
  // Timers of one duration fire in their order, whenever that is: behind the last data.
  from.on('close', () => setTimeout(() => to.destroySoon(), WAY_MS))
}

/** Opens the way to a server that `serve` begins on the same port, if no other program has it. */
async function serveBehindWay(serve: (port: number) => Promise<unknown>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await serve(await openWay())
      return
    } catch (error) {
      if (tries === 10 || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    }
  }
}

async function openWay(): Promise<number> {
  const way = createServer({ noDelay: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', noDelay: true })
    pass(near, far)
    pass(far, near)
  })
  await new Promise<void>((resolve) => way.listen(0, DISTANT, resolve))
  ways.push(way)
  const { port } = way.address() as { port: number }
  return port
}

const PROTOCOLS: Record<
  string,
  { serve(mesh: Mesh, port: number): Promise<unknown>; call(mesh: Mesh): Promise<unknown> }
> = {
  HTTP: {
    serve: (mesh, port) =>
      mesh.serve((req, res) => req.resume().on('end', () => res.end('ok')), {
        port,
        host: '127.0.0.1',
        advertise: DISTANT,
      }),
    call: async (mesh) => (await mesh.http('inventory').post('/', 'x')).text(),
  },
  gRPC: {
    serve: (mesh, port) =>
      mesh.serveGrpc(shopServer({ Take: (_call, answer) => answer(null, { sku: 'ok' }) }), {
        port,
        host: '127.0.0.1',
        advertise: DISTANT,
      }),
    call: (mesh) => mesh.grpc(Shop, 'inventory').promises.take({ sku: 'a' }),
  },
}

it.each(Object.entries(PROTOCOLS))(
  '%s',
  async (_, { serve, call }) => {
    const members: Mesh[] = []
    for (let i = 0; i < 3; i++) {
      const member = await test.join('inventory', { drainNotice: '5s' })
      await serveBehindWay((port) => serve(member, port))
      members.push(member)
    }
    const client = await test.join('checkout')
    await Promise.all(Array.from({ length: 20 }, () => call(client)))
    const failures: unknown[] = []
    const running: Promise<unknown>[] = []
    const wave = (): void => {
      for (let i = 0; i < 12; i++) running.push(call(client).catch((error: unknown) => failures.push(error)))
    }
    const load = setInterval(wave, 100)
    const left = members[0]!.close()
    await left
    clearInterval(load)
    await Promise.all(running)
    expect(failures).toEqual([])
    expect(running.length).toBeGreaterThan(24)
  },
  60_000,
)
