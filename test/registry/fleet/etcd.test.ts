/** Registries as processes on a real etcd: killed, stopped, cut off. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'
import { EtcdCluster, type EtcdPaths, WITHOUT_ETCD, withEtcd } from '../../rigs/etcd.ts'
import { instance } from '../../rigs/instance.ts'
import { type Credentials, join, request, TestSession } from '../../rigs/registry-session.ts'

const PROGRAM = fileURLToPath(new URL('../../rigs/etcd-registry-process.ts', import.meta.url))
/** Longer than this process stands still while a registry beside it goes on. */
const LEASE_MS = 3_000
/** Of a registry's lease in etcd, until its key is gone. */
const DEAD_MS = 40_000

let etcd: EtcdCluster
/** In this process; it never dies. */
let witness: Registry
let credentials: Credentials
const children: ChildProcess[] = []
const sessions: TestSession[] = []

interface Node {
  readonly registry: Registry
  readonly child: ChildProcess
  readonly paths: EtcdPaths
}

async function start(): Promise<Node> {
  const paths = await etcd.paths()
  const child = spawn(process.execPath, ['--no-warnings', PROGRAM, paths.url, String(LEASE_MS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  let text = ''
  child.stdout.on('data', (chunk) => {
    text += chunk
  })
  await expect.poll(() => text.includes('\n') || child.exitCode !== null, { timeout: 60_000 }).toBe(true)
  return { registry: JSON.parse(text) as Registry, child, paths }
}

async function open(registry: Registry, id: string): Promise<TestSession> {
  const session = await TestSession.open(registry, 'a', credentials)
  sessions.push(session)
  const answer = await session.ask({ type: 'register', instance: instance('a', id) })
  expect(answer.type).toBe('done')
  return session
}

async function listed(): Promise<string[]> {
  const { json } = await request(witness, 'GET', '/v1/services/a', { admin: true })
  return json.instances.map(({ id }: { id: string }) => id).sort()
}

async function announced(): Promise<string[]> {
  const { json } = await request(witness, 'GET', '/v1/registries', { admin: true })
  return json.registries.map(({ id }: { id: string }) => id)
}

describe.skipIf(WITHOUT_ETCD)(withEtcd('registries on etcd'), () => {
  beforeEach(async () => {
    etcd = await EtcdCluster.start({ nodes: 1 })
    witness = await startRegistry({ store: etcd.url, port: 0, lease: LEASE_MS, log: false })
    credentials = await join(witness, 'a', await witness.createJoinToken({ service: 'a' }))
  }, 60_000)

  afterEach(async () => {
    for (const session of sessions.splice(0)) session.close()
    for (const child of children.splice(0)) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
    }
    await witness.close()
    await etcd.close()
  }, 60_000)

  test('what a killed one held is adopted: who comes back stays listed, who does not expires', async () => {
    const node = await start()
    await open(node.registry, 'back')
    await open(node.registry, 'gone')
    await expect.poll(announced).toContain(node.registry.id)
    node.child.kill('SIGKILL')
    await open(witness, 'back')
    await expect.poll(listed, { timeout: DEAD_MS }).toEqual(['back'])
    await expect.poll(announced).not.toContain(node.registry.id)
  }, 150_000)

  test('one that stands still for longer than its lease removes nothing when it wakes', async () => {
    const node = await start()
    const moved = await open(node.registry, 'moved')
    const faithful = await open(node.registry, 'faithful')
    const missing = new Set<string>()
    const watch = setInterval(() => {
      listed().then(
        (ids) => ids.includes('moved') || missing.add('moved'),
        () => {},
      )
    }, 200)
    node.child.kill('SIGSTOP')
    const again = await open(witness, 'moved')
    moved.close()
    await expect.poll(announced, { timeout: DEAD_MS }).not.toContain(node.registry.id)
    // Its session is open, and its process is not heard: the reaper counts it as gone.
    await expect.poll(listed, { timeout: 40_000 }).toEqual(['moved'])
    node.child.kill('SIGCONT')
    // While its way to etcd is not back, it may send its processes away.
    const isSentAway = (): boolean => faithful.closed || faithful.received.some(({ type }) => type === 'goaway')
    const comesBack = faithful.until(isSentAway, 40_000).then(() => open(witness, 'faithful'))
    comesBack.catch(() => undefined)
    await expect.poll(listed, { timeout: 60_000 }).toEqual(['faithful', 'moved'])
    await expect.poll(announced, { timeout: 40_000 }).toContain(node.registry.id)
    await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS))
    expect(await listed()).toEqual(['faithful', 'moved'])
    clearInterval(watch)
    expect([...missing]).toEqual([])
    expect(again.closed).toBe(false)
  }, 300_000)

  test.each(['severed', 'silent'] as const)(
    'one whose way to etcd is %s sends its sessions away until it is back',
    async (way) => {
      const node = await start()
      const session = await open(node.registry, 'i')
      node.paths.set(way)
      await session.next('goaway')
      const refused = new TestSession(node.registry, credentials, 'a')
      sessions.push(refused)
      await refused.until(() => refused.status !== undefined || refused.closed)
      expect(refused.status).toBe(503)
      await open(witness, 'i')
      node.paths.set('open')
      await expect
        .poll(async () => (await request(node.registry, 'GET', '/readyz')).status, { timeout: 60_000 })
        .toBe(200)
      await open(node.registry, 'j')
      await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS))
      expect(await listed()).toEqual(['i', 'j'])
    },
    180_000,
  )

  test('all of them killed at once: their processes come back to others and none is lost', async () => {
    const nodes = [await start(), await start()]
    for (const [i, { registry }] of nodes.entries()) await open(registry, `i${i}`)
    for (const { child } of nodes) child.kill('SIGKILL')
    const next = await start()
    await open(next.registry, 'i0')
    await open(next.registry, 'i1')
    await expect.poll(announced, { timeout: DEAD_MS }).toEqual([witness.id, next.registry.id])
    await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS))
    expect(await listed()).toEqual(['i0', 'i1'])
  }, 180_000)
})
