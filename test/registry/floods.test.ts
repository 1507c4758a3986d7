/**
 * A registry in a separate process, attacked over real connections, while an honest member's
 * session goes on.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Registry } from '../../src/registry/index.ts'
import type { AuditRecord } from '../../src/registry/records.ts'
import { instance } from '../rigs/instance.ts'
import { FLAG, FRAME, frameOf, frames, RawHttp2 } from '../rigs/raw-http2.ts'
import { csrOf, newKey, request, TestSession } from '../rigs/registry-session.ts'

const PROGRAM = fileURLToPath(new URL('../rigs/registry-process.ts', import.meta.url))
const MANY = 5_000
const TRAILERS = 'reset by the registry because of their trailers'
/** Refused and audited if it reaches its handler. */
const REQUEST = { ':method': 'GET', ':scheme': 'https', ':authority': 'localhost', ':path': '/v1/audit' }
const UPLOAD = { ...REQUEST, ':method': 'POST', ':path': '/v1/join' }
/** Its length, then the bytes. */
const PADDING = Buffer.concat([Buffer.of(20), Buffer.alloc(20)])

let directory: string
let child: ChildProcess
let registry: Registry
let member: TestSession
const attackers: RawHttp2[] = []

beforeAll(async () => {
  directory = joinPath(mkdtempSync(joinPath(tmpdir(), 'inmesh-registry-')), 'state')
  child = spawn(process.execPath, [PROGRAM, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await Promise.race([
    once(createInterface({ input: child.stdout! }), 'line'),
    once(child, 'exit').then(() => Promise.reject(new Error('it did not start'))),
  ])
  registry = JSON.parse(line)
  const adminToken = readFileSync(joinPath(directory, 'admin-token'), 'utf8').trim()
  registry = { ...registry, adminToken }
  const body = { service: 'checkout', uses: 1, ttl: '10m' }
  const { token } = (await request(registry, 'POST', '/v1/tokens', { admin: true, body })).json
  const key = newKey()
  const joined = await request(registry, 'POST', '/v1/join', { body: { service: 'checkout', csr: csrOf(key), token } })
  member = await TestSession.open(registry, 'checkout', { key, cert: joined.json.certificate })
})

afterEach(async () => {
  for (const attacker of attackers.splice(0)) await attacker.close()
})

afterAll(async () => {
  member?.close()
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
  rmSync(joinPath(directory, '..'), { recursive: true, force: true })
})

async function attack(write: (attacker: RawHttp2) => unknown): Promise<RawHttp2> {
  const attacker = await RawHttp2.connect(registry.port, { rejectUnauthorized: false })
  attackers.push(attacker)
  await write(attacker)
  return attacker
}

async function refusals(): Promise<AuditRecord[]> {
  const { json } = await request(registry, 'GET', '/v1/audit', { admin: true })
  return json.audit.filter((record: AuditRecord) => record.outcome === 'refused').reverse()
}

async function reasons(): Promise<(string | undefined)[]> {
  return (await refusals()).filter(({ action }) => action === 'connection').map(({ reason }) => reason)
}

/** The honest one registers, on the session that it had before the attack. */
async function memberIsServed(): Promise<void> {
  const answer = await member.ask({ type: 'register', instance: instance('checkout', 'c1') })
  expect(answer.type).toBe('done')
  expect(member.closed).toBe(false)
}

/**
 * In portions, each after the last has been answered: frames that nghttp2 itself does not take for
 * a flood.
 */
async function paced(attacker: RawHttp2, frame: Buffer, answer: number): Promise<void> {
  const portion = Buffer.concat(Array.from({ length: 50 }, () => frame))
  const answers = () => attacker.received.filter(({ type, flags }) => type === answer && flags === FLAG.ack).length
  for (let sent = 0; sent < MANY && !attacker.closed; sent += 50) {
    attacker.write(portion)
    for (const until = performance.now() + 30_000; answers() < sent && !attacker.closed; await sleep(1)) {
      if (performance.now() > until) throw new Error(`no answer to ${sent - answers()} frames`)
    }
  }
}

test.each<[string, (id: number) => Buffer[]]>([
  ['reset at once', (id) => [frames.headers(id, REQUEST), frames.reset(id)]],
  [
    'reset at once, with HEAD and as if nothing were wrong',
    (id) => [frames.headers(id, { ...REQUEST, ':method': 'HEAD' }), frames.reset(id, 0)],
  ],
  [TRAILERS, (id) => [frames.headers(id, REQUEST, FLAG.endHeaders), frames.headers(id, { ':path': '/' })]],
])('a connection whose streams are %s is cut, and hardly a handler runs for it', async (name, stream) => {
  const [handled, cut] = [(await refusals()).length, (await reasons()).length]
  const attacker = await attack((one) => {
    for (let i = 0; i < MANY; i++) one.write(...stream(2 * i + 1))
  })
  expect(await attacker.ends()).toBe(true)
  const told = async () => (await reasons()).slice(cut)
  // Some versions of Node find out about trailers before the guard does.
  if (name !== TRAILERS) await expect.poll(told).toEqual(['rapid-reset'])
  else expect(['', 'rapid-reset']).toContain((await told()).join())
  // The connection itself, and a stream whose end came with the next read.
  expect((await refusals()).length - handled).toBeLessThan(20)
  await memberIsServed()
})

test.each([
  ['PING', frames.ping(), FRAME.ping, 'ping-flood'],
  ['SETTINGS', frames.settings({ 4: 65_535 }), FRAME.settings, 'settings-flood'],
] as const)('a connection that sends %s without end is cut', async (_name, frame, answer, reason) => {
  const cut = (await reasons()).length
  const attacker = await attack((one) => paced(one, frame, answer))
  expect(await attacker.ends()).toBe(true)
  expect(attacker.received.filter(({ type }) => type === answer).length).toBeLessThan(MANY / 2)
  await expect.poll(async () => (await reasons()).slice(cut)).toContain(reason)
  await memberIsServed()
})

test.each<[string, (attacker: RawHttp2) => void]>([
  ['PING faster than they can be answered', (one) => repeat(one, frames.ping())],
  ['SETTINGS faster than they can be answered', (one) => repeat(one, frames.settings())],
  ['acknowledgements that nobody asked for', (one) => repeat(one, frames.settingsAck())],
  [
    'CONTINUATION without end',
    (one) => {
      one.write(frames.headers(1, REQUEST, 0))
      repeat(one, frames.continuation(1, { 'x-more': 'x' }))
    },
  ],
  [
    'empty DATA without end',
    (one) => {
      one.write(frames.headers(1, REQUEST, FLAG.endHeaders))
      repeat(one, frames.data(1, Buffer.alloc(0)))
    },
  ],
  [
    'a window that overflows',
    (one) => one.write(frames.headers(1, REQUEST, FLAG.endHeaders), frames.windowUpdate(1, 0x7fffffff)),
  ],
])('a connection with %s is cut by Node itself', async (_name, write) => {
  const attacker = await attack(write)
  expect(await attacker.ends()).toBe(true)
  await memberIsServed()
})

test.each<[string, Buffer, Buffer?]>([
  ['WINDOW_UPDATE of the connection', frames.windowUpdate(0, 1)],
  ['WINDOW_UPDATE of a stream', frames.windowUpdate(1, 1), frames.headers(1, REQUEST, FLAG.endHeaders)],
  ['PRIORITY', frames.priority(3)],
  ['frames of an unknown type', frameOf(0x77, 0, 0)],
  ['DATA of nothing but padding', frameOf(FRAME.data, 8, 1, PADDING), frames.headers(1, UPLOAD, FLAG.endHeaders)],
])('a connection that sends %s without end is cut, and members are served', async (_name, frame, first) => {
  const attacker = await attack((one) => {
    if (first !== undefined) one.write(first)
    // As much as the socket takes, in portions: never more than a hundred thousand frames.
    const portion = Buffer.concat(Array.from({ length: 1_000 }, () => frame))
    for (let i = 0; i < 100; i++) one.write(portion)
  })
  expect(await attacker.ends()).toBe(true)
  await memberIsServed()
})

function repeat(attacker: RawHttp2, frame: Buffer): void {
  for (let i = 0; i < MANY; i++) attacker.write(frame)
}
