/** `inmesh dev` as a process: what it prints works, and Ctrl-C leaves nothing. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { run } from '../run-command.ts'

const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url))

interface Ready {
  readonly url: string
  readonly uiUrl: string
  readonly services: readonly string[]
  readonly try: readonly string[]
}

let child: ChildProcess
let ready: Ready

function dev(...args: string[]): ChildProcess {
  const { INMESH_REGISTRY: _, ...env } = process.env
  return spawn(process.execPath, [MAIN, 'dev', '--json', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
}

beforeAll(async () => {
  child = dev('--port', '0')
  const said = once(createInterface({ input: child.stdout! }), 'line') as Promise<[string]>
  const ended = once(child, 'exit').then(([code]) => Promise.reject(new Error(`it has ended with ${code}`)))
  ready = JSON.parse((await Promise.race([said, ended]))[0])
  ended.catch(() => {})
})
afterAll(() => child.kill('SIGKILL'))

const call = (url: string) =>
  run(['call', url, '--json'], { env: { INMESH_REGISTRY: ready.url, HOME: '/nonexistent' } })

it('runs a registry, its page, and services that call each other', async () => {
  expect(ready.services).toEqual(['checkout', 'inventory', 'prices', 'web'])
  expect(ready.try[0]).toBe(`INMESH_REGISTRY=${ready.url} npx inmesh call http://inventory/items/42`)
  expect((await fetch(ready.uiUrl)).status).toBe(200)
  const item = JSON.parse((await call('http://inventory/items/42')).stdout)
  expect(item.body).toMatchObject({ sku: '42', left: expect.any(Number) })
  const order = JSON.parse((await call('http://checkout/orders/42')).stdout)
  expect(order.body).toMatchObject({ sku: '42', cents: expect.any(Number) })
})

it('says which port is taken, and what to do', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  const { code, stderr } = await run(['dev', '--port', String(port)])
  taken.close()
  expect(code).toBe(2)
  expect(stderr).toContain(`port ${port} of 127.0.0.1 is taken`)
  expect(stderr).toContain('such as --port 0')
})

it('ends by Ctrl-C with 0, and leaves no port open', async () => {
  const closed = once(child, 'close')
  child.kill('SIGINT')
  expect(await closed).toEqual([0, null])
  const socket = connect(Number(new URL(ready.url).port), '127.0.0.1')
  const [error] = await once(socket, 'error')
  expect(error).toMatchObject({ code: 'ECONNREFUSED' })
})
