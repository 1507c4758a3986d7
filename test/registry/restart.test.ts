/** A registry that is killed with -9 and started again on the same directory, as real processes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { instance } from '../rigs/instance.ts'
import { type Credentials, csrOf, newKey, request, TestSession } from '../rigs/registry-session.ts'

const PROGRAM = fileURLToPath(new URL('../rigs/registry-process.ts', import.meta.url))
const children: ChildProcess[] = []
const sessions: TestSession[] = []
let directory: string

beforeEach(() => {
  directory = joinPath(mkdtempSync(joinPath(tmpdir(), 'inmesh-registry-')), 'state')
})

afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  for (const child of children.splice(0)) await kill(child)
  rmSync(joinPath(directory, '..'), { recursive: true, force: true })
})

async function start(leaseMs = 15_000): Promise<{ child: ChildProcess; registry: Registry }> {
  const child = spawn(process.execPath, [PROGRAM, directory, '0', String(leaseMs)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.push(child)
  let errors = ''
  child.stderr!.on('data', (chunk: Buffer) => {
    errors += chunk
  })
  const lines = createInterface({ input: child.stdout! })
  const line = await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(() => Promise.reject(new Error(errors))),
  ])
  const told = JSON.parse(String((line as string[])[0]))
  told.adminToken ??= readFileSync(joinPath(directory, 'admin-token'), 'utf8').trim()
  return { child, registry: told as Registry }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

async function tokenFor(registry: Registry, service: string, uses: number): Promise<string> {
  const answer = await request(registry, 'POST', '/v1/tokens', { admin: true, body: { service, uses, ttl: '10m' } })
  expect(answer.status).toBe(201)
  return answer.json.token
}

async function joinWith(registry: Registry, service: string, token: string): Promise<Credentials> {
  const key = newKey()
  const answer = await request(registry, 'POST', '/v1/join', { body: { service, csr: csrOf(key), token } })
  expect(answer.status, answer.text).toBe(200)
  return { key, cert: answer.json.certificate }
}

async function open(registry: Registry, service: string, credentials: Credentials): Promise<TestSession> {
  const session = await TestSession.open(registry, service, credentials)
  sessions.push(session)
  return session
}

test('after kill -9 registrations, policies, tokens and the authority are there, in another incarnation', async () => {
  const first = await start()
  const token = await tokenFor(first.registry, 'inventory', 3)
  const credentials = await joinWith(first.registry, 'inventory', token)
  const owner = await open(first.registry, 'inventory', credentials)
  for (let i = 0; i < 20; i++) {
    const answer = await owner.ask({ type: 'register', instance: instance('inventory', `i${i}`) })
    expect(answer.type).toBe('done')
  }
  await request(first.registry, 'PUT', '/v1/policies/inventory', { admin: true, body: { timeout: '800ms' } })
  const watcher = await open(first.registry, 'inventory', credentials)
  watcher.send({ type: 'watch', service: 'inventory' })
  const seen = await watcher.next('snapshot')
  const leaving = (await owner.ask({ type: 'deregister', id: 'i0' })) as { revision: number }
  await kill(first.child)

  const second = await start()
  expect(second.registry.epoch).not.toBe(first.registry.epoch)
  expect(second.registry.rootFingerprint).toBe(first.registry.rootFingerprint)
  expect(second.registry.revision).toBeGreaterThanOrEqual(leaving.revision)
  // The certificate of before is still good, the token has the uses that are left, and the admin
  // token is the same.
  const again = await open(second.registry, 'inventory', credentials)
  expect((await again.next('welcome')).epoch).toBe(second.registry.epoch)
  await joinWith(second.registry, 'inventory', token)
  await joinWith(second.registry, 'inventory', token)
  const spent = await request(second.registry, 'POST', '/v1/join', {
    body: { service: 'inventory', csr: csrOf(newKey()), token },
  })
  expect(spent.json.error.code).toBe('token-used')
  // Whether the history goes on is unknown, so a watch begins with a whole snapshot.
  again.send({ type: 'watch', service: 'inventory', since: { epoch: seen.epoch, revision: seen.revision } })
  const snapshot = await again.next('snapshot')
  expect(snapshot.instances).toHaveLength(19)
  expect(snapshot.policy).toEqual({ service: 'inventory', timeout: '800ms' })
  // Coming back writes nothing; a change goes on from the last revision.
  await again.ask({ type: 'register', instance: instance('inventory', 'i5') })
  const changed = (await again.ask({ type: 'register', instance: instance('inventory', 'new') })) as {
    revision: number
  }
  expect(changed.revision).toBeGreaterThan(leaving.revision)
})

test('a watch resumes over an orderly restart, from the history on the disk', async () => {
  const first = await start()
  const token = await tokenFor(first.registry, 'inventory', 3)
  const credentials = await joinWith(first.registry, 'inventory', token)
  const owner = await open(first.registry, 'inventory', credentials)
  await owner.ask({ type: 'register', instance: instance('inventory', 'i0') })
  await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
  owner.send({ type: 'watch', service: 'inventory' })
  const seen = await owner.next('snapshot')
  await owner.ask({ type: 'deregister', id: 'i0' })
  const exited = once(first.child, 'exit')
  first.child.kill('SIGTERM')
  await exited

  const second = await start()
  expect(second.registry.epoch).toBe(first.registry.epoch)
  const again = await open(second.registry, 'inventory', credentials)
  again.send({ type: 'watch', service: 'inventory', since: { epoch: seen.epoch, revision: seen.revision } })
  const delta = await again.next('delta')
  expect(delta).toMatchObject({ previous: seen.revision, gone: [{ id: 'i0', why: 'left' }] })
  expect(delta.put).toBeUndefined()
})

test('nothing expires for one and a half leases after a start; what did not come back by then is lost', async () => {
  // Longer than this process stands still while the registry goes on.
  const first = await start(3_000)
  const token = await tokenFor(first.registry, 'inventory', 1)
  const credentials = await joinWith(first.registry, 'inventory', token)
  const owner = await open(first.registry, 'inventory', credentials)
  await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
  await owner.ask({ type: 'register', instance: instance('inventory', 'i2') })
  await kill(first.child)

  const begun = performance.now()
  const second = await start(3_000)
  const back = await open(second.registry, 'inventory', credentials)
  await back.ask({ type: 'register', instance: instance('inventory', 'i1') })
  back.send({ type: 'watch', service: 'inventory' })
  expect((await back.next('snapshot')).instances).toHaveLength(2)
  expect(await back.next('delta', (delta) => delta.gone !== undefined)).toMatchObject({
    gone: [{ id: 'i2', why: 'lost' }],
  })
  expect(performance.now() - begun).toBeGreaterThan(4_400)
})

test('files are for their owner only, a second registry on the directory is refused, and the trust domain stays', async () => {
  const { child } = await start()
  expect(statSync(directory).mode & 0o777).toBe(0o700)
  for (const file of ['registry.db', 'registry.db-wal', 'admin-token']) {
    expect(statSync(joinPath(directory, file)).mode & 0o777, file).toBe(0o600)
  }
  await expect(startRegistry({ dataDir: directory, port: 0, log: false })).rejects.toThrow(
    /another registry is running/,
  )
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  expect(await exited).toEqual([0, null])
  await expect(startRegistry({ dataDir: directory, port: 0, log: false, trustDomain: 'other.local' })).rejects.toThrow(
    /inmesh\.local/,
  )
  const again = await startRegistry({ dataDir: directory, port: 0, log: false })
  expect(again.adminToken).toBeUndefined()
  expect(again.trustDomain).toBe('inmesh.local')
  await again.close()
})

test('a mesh keeps the name it was given first', async () => {
  const first = await startRegistry({ dataDir: directory, port: 0, log: false, trustDomain: 'shop.example' })
  await first.close()
  const second = await startRegistry({ dataDir: directory, port: 0, log: false })
  expect(second.trustDomain).toBe('shop.example')
  await second.close()
})
