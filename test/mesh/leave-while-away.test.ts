/** What a process does while it has no session counts in the next one. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Registry } from '../../src/registry/index.ts'
import { Rig } from '../end-to-end/rig.ts'
import { request } from '../rigs/registry-session.ts'

let rig: Rig
let registry: Registry
let line: Server
const sockets = new Set<Socket>()
let isCut = false

beforeEach(async () => {
  rig = new Rig()
  isCut = false
  registry = await rig.registry({ dev: true, lease: '1h' })
  line = createServer((from) => {
    if (isCut) return void from.destroy()
    const to = connect(registry.port, '127.0.0.1')
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      sockets.add(one)
      one.on('error', () => {}).on('close', () => other.destroy())
      one.pipe(other)
    }
  }).listen(0, '127.0.0.1')
  await once(line, 'listening')
})

afterEach(async () => {
  await rig.close()
  line.close()
  for (const socket of sockets) socket.destroy()
  sockets.clear()
})

async function listed(service: string): Promise<number[]> {
  const { json } = await request(registry, 'GET', `/v1/services/${service}`)
  return json.instances.map(({ port }: { port: number }) => port)
}

test('a listener that closes while the registry cannot be reached is not listed after it can', async () => {
  const url = `https://127.0.0.1:${(line.address() as AddressInfo).port}`
  const mesh = await rig.join({ service: 'stock', registry: url })
  const first = await mesh.serve((_req, res) => res.end(), { host: '127.0.0.1' })
  const second = await mesh.serve((_req, res) => res.end(), { host: '127.0.0.1' })
  expect(await listed('stock')).toEqual([first.port, second.port])

  isCut = true
  for (const socket of sockets) socket.destroy()
  const named = (name: string) => mesh.events().filter((event) => event.name === name)
  await expect.poll(() => named('registry:lost')).toHaveLength(1)
  await first.close()
  isCut = false
  await expect.poll(() => named('registry:connected'), { timeout: 40_000 }).toHaveLength(2)
  await expect.poll(() => listed('stock')).toEqual([second.port])
})
