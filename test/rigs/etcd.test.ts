/** The rig itself: tests that partition, fill and kill rely on it. */
import { createConnection, createServer } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { EtcdCluster, type EtcdOptions, WITHOUT_ETCD, withEtcd } from './etcd.ts'
import { Gate } from './gate.ts'

const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function start(options?: EtcdOptions): Promise<EtcdCluster> {
  const cluster = await EtcdCluster.start(options)
  closers.push(() => cluster.close())
  return cluster
}

test('a silent gate keeps what is sent until it opens; a severed one resets and refuses', async () => {
  const echo = createServer((socket) => socket.pipe(socket).on('error', () => {})).listen(0, '127.0.0.1')
  closers.push(() => echo.close())
  await new Promise((resolve) => echo.once('listening', resolve))
  const gate = await Gate.open({ host: '127.0.0.1', port: (echo.address() as { port: number }).port })
  closers.push(() => gate.close())
  const client = createConnection(gate.port, '127.0.0.1').setEncoding('utf8')
  let heard = ''
  client.on('data', (text: string) => {
    heard += text
  })
  client.write('a')
  await expect.poll(() => heard).toBe('a')
  gate.set('silent')
  client.write('b')
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(heard).toBe('a')
  gate.set('open')
  await expect.poll(() => heard).toBe('ab')
  const reset = new Promise<string | undefined>((resolve) =>
    client.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code)),
  )
  gate.set('severed')
  expect(await reset).toBe('ECONNRESET')
  expect(gate.connections).toBe(0)
})

describe.skipIf(WITHOUT_ETCD)(withEtcd('the rig of etcd'), () => {
  test('a killed leader is replaced, and comes back on its data', async () => {
    const cluster = await start({ nodes: 3 })
    await cluster.ctl('put', 'k', 'v')
    const first = await cluster.leader()
    await first.kill()
    const second = await cluster.leader()
    expect(second).not.toBe(first)
    first.start()
    await first.healthy()
    expect(await cluster.ctl('get', 'k', '--print-value-only')).toBe('v\n')
  })

  test('a full quota refuses writes until there is room again', async () => {
    const cluster = await start({ args: ['--quota-backend-bytes', String(8_000_000)] })
    await cluster.fill()
    await expect(cluster.ctl('put', 'k', 'v')).rejects.toThrow('space exceeded')
    await cluster.makeRoom()
    await cluster.ctl('put', 'k', 'v')
  })

  test('compacts, and begins anew with an older snapshot', async () => {
    const cluster = await start()
    await cluster.ctl('put', 'k', 'old')
    const file = `${cluster.nodes[0]!.dataDir}.snapshot`
    await cluster.saveSnapshot(file)
    await cluster.ctl('put', 'k', 'new')
    await cluster.compact()
    await expect(cluster.ctl('get', 'k', '--rev', '2')).rejects.toThrow('compacted')
    const restored = await start({ snapshot: file })
    expect(await restored.ctl('get', 'k', '--print-value-only')).toBe('old\n')
  })
})
