/** Endpoints that a restored registry lacks, on real sockets. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { DoubtedEndpoints, MOST_AT_ONCE } from '../../src/client/doubted-endpoints.ts'
import { systemClock } from '../../src/core/clock.ts'
import { Endpoint } from '../../src/core/endpoint.ts'
import { deadPort } from '../rigs/dead-port.ts'
import { instance } from '../rigs/instance.ts'

const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

function doubts(): DoubtedEndpoints {
  const made = new DoubtedEndpoints(systemClock, true)
  closers.push(() => made.close())
  return made
}

const at = (id: string, port: number, address = '127.0.0.1'): Endpoint =>
  new Endpoint('inventory', instance('inventory', id, { port, address }))

/** Accepts, and counts. */
async function living(): Promise<{ port: number; connections: () => number }> {
  let connections = 0
  const server = createServer((socket) => {
    connections += 1
    socket.on('error', () => {})
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  closers.push(() => server.close())
  return { port: (server.address() as AddressInfo).port, connections: () => connections }
}

describe('a doubted endpoint', () => {
  it('is dead where a connection is refused, and nowhere else', async () => {
    const { port, connections } = await living()
    const dead = await deadPort()
    const told: string[] = []
    const asked = doubts()
    const all = [
      at('dead', dead),
      at('living', port),
      at('unknown', dead, 'no-such-host.invalid'),
      at('forbidden', dead, '169.254.169.254'),
    ]
    asked.add(all, (some) => told.push(...some.map(({ id }) => id)))
    await expect.poll(() => [told, connections(), asked.connecting]).toEqual([['dead'], 1, 0])
  })

  it('is not connected to once it is withdrawn', async () => {
    const { port, connections } = await living()
    const asked = doubts()
    const withdrawn = at('withdrawn', port)
    withdrawn.withdrawn = true
    asked.add([withdrawn, at('last', port)], () => {})
    await expect.poll(() => [asked.connecting, connections()]).toEqual([0, 1])
  })

  it('is one of many that are asked a few at a time, and whose deaths come together', async () => {
    const dead = await deadPort()
    const { port } = await living()
    const many = Array.from({ length: 2_000 }, (_, i) => at(`i-${i}`, i % 10 === 0 ? port : dead))
    const notices: number[] = []
    const asked = doubts()
    asked.add(many, (some) => notices.push(some.length))
    let most = asked.connecting
    const sum = (): number => notices.reduce((all, some) => all + some, 0)
    await expect
      .poll(
        () => {
          most = Math.max(most, asked.connecting)
          return sum()
        },
        { interval: 1, timeout: 20_000 },
      )
      .toBe(1_800)
    expect(most).toBe(MOST_AT_ONCE)
    expect(notices.length).toBeLessThan(900)
  })

  it('is forgotten when the process closes meanwhile', async () => {
    const dead = await deadPort()
    const asked = doubts()
    let told = 0
    asked.add(
      Array.from({ length: 100 }, (_, i) => at(`i-${i}`, dead)),
      () => told++,
    )
    asked.close()
    asked.add([at('late', dead)], () => told++)
    expect(asked.connecting).toBe(0)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(told).toBe(0)
  })
})
