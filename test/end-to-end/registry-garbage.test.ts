/**
 * A registry sends garbage: it is rejected and counted, the last valid snapshot stays in force, and
 * calls are unaffected.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import { ScriptedRegistry } from '../rigs/scripted-registry.ts'
import { countOf, eventually, Rig } from './rig.ts'

let rig: Rig
let registry: ScriptedRegistry
let client: Mesh

beforeAll(async () => {
  rig = new Rig()
  subscribe('inmesh:snapshot:applied', applied.note)
  rig.onClose(() => unsubscribe('inmesh:snapshot:applied', applied.note))
  registry = await new ScriptedRegistry().listen()
  rig.onClose(() => registry.close())
  for (let i = 0; i < 2; i++) {
    const server = await rig.join({ service: 'inventory', registry: registry.url })
    await server.serve((_req, res) => res.end('hello'), { host: '127.0.0.1' })
  }
  client = await rig.join({ service: 'checkout', registry: registry.url })
  await call()
})

afterAll(async () => {
  await rig.close()
})

/** Revisions of inventory's snapshots, in the order in which they came into force at the client. */
const applied = {
  revisions: [] as number[],
  note: (message: unknown): void => {
    const { service, subject, revision } = message as { service: string; subject: string; revision: number }
    if (service === 'checkout' && subject === 'inventory') applied.revisions.push(revision)
  },
  after: (revision: number): Promise<void> =>
    eventually(`revision ${revision} is in force`, () => applied.revisions.includes(revision)),
}

async function call(): Promise<void> {
  const response = await client.http('inventory').get('/')
  expect([response.status, await response.text()]).toEqual([200, 'hello'])
}

/** Twenty calls of which one at a time is on the way while the registry talks. */
async function calls(): Promise<void> {
  for (let i = 0; i < 20; i++) await call()
}

const [A, B] = ['inventory-a', 'inventory-b']

function instance(id: string, more: object = {}): object {
  const fixed = { service: 'inventory', address: '127.0.0.1', protocol: 'http', tls: true, weight: 100, metadata: {} }
  return { ...fixed, id, port: 9, state: 'ready', ...more }
}

function snapshot(more: object): string {
  const fixed = {
    type: 'snapshot',
    service: 'inventory',
    epoch: 'scripted',
    revision: 900,
    intended: true,
    frozen: false,
  }
  return JSON.stringify({ ...fixed, instances: [instance(A)], policy: null, ...more })
}

const POLLUTING = `{"type":"snapshot","service":"inventory","epoch":"scripted","revision":900,"intended":true,"frozen":false,"policy":null,
"instances":[{"service":"inventory","id":"x","address":"127.0.0.1","port":9,"protocol":"http","tls":true,"weight":100,"state":"ready","metadata":{"__proto__":{"polluted":"yes"},"constructor":{"prototype":{"polluted":"yes"}}}}]}`

const GARBAGE: readonly (readonly [what: string, line: string])[] = [
  ['a list', '[]'],
  ['null', 'null'],
  ['a number', '42'],
  ['a text', '"snapshot"'],
  ['HTML', '<html><body>502 Bad Gateway</body></html>'],
  ['half a message', snapshot({}).slice(0, 100)],
  ['a nul byte', '\0'],
  ['no type', '{}'],
  ['a type that is no text', '{"type":{}}'],
  ['a negative port', snapshot({ instances: [instance(A, { port: -1 })] })],
  ['a port of 65536', snapshot({ instances: [instance(A, { port: 65_536 })] })],
  ['a port as text', snapshot({ instances: [instance(A, { port: '80' })] })],
  ['duplicate ids', snapshot({ instances: [instance(A), instance(B), instance(A)] })],
  ['an instance of another service', snapshot({ instances: [instance(A, { service: 'prices' })] })],
  ['an instance that is null', snapshot({ instances: [null] })],
  ['instances that are no list', snapshot({ instances: { length: 1, 0: instance(A) } })],
  ['too many instances', snapshot({ instances: Array.from({ length: 10_001 }, (_, i) => instance(`i${i}`)) })],
  ['an address with a line break', snapshot({ instances: [instance(A, { address: '127.0.0.1\r\nx: y' })] })],
  ['a protocol nobody speaks', snapshot({ instances: [instance(A, { protocol: 'gopher' })] })],
  ['tls that is neither true nor false', snapshot({ instances: [instance(A, { tls: 'no' })] })],
  ['a negative revision', snapshot({ revision: -1 })],
  ['a revision that is no number', snapshot({ revision: 'new' })],
  ['a service that is no name', snapshot({ service: '../etc' })],
  ['a prototype in metadata', POLLUTING.replaceAll('\n', '')],
  [
    'a bundle of rubbish',
    JSON.stringify({ type: 'bundle', trustDomain: 'mesh.test', sequence: 9, roots: ['rubbish'] }),
  ],
]

test.each(GARBAGE)('%s is refused and counted, and calls go on', async (_what, line) => {
  const before = countOf(client, 'snapshot:rejected')
  const lost = countOf(client, 'registry:lost')
  registry.say('checkout', `${line}\n`)
  const busy = calls()
  await eventually('it is counted', () => countOf(client, 'snapshot:rejected') === before + 1)
  await busy
  expect(client.events().findLast(({ name }) => name === 'snapshot:rejected')?.payload.reason).toMatch(/\w/)
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  // Valid messages from the same registry are still accepted.
  registry.say('checkout', `${JSON.stringify(registry.snapshotOf('inventory'))}\n`)
  await calls()
  expect(countOf(client, 'snapshot:rejected')).toBe(before + 1)
  expect(countOf(client, 'registry:lost')).toBe(lost)
})

test.each([
  ['an unknown key', { service: 'inventory', retries: 3 }],
  ['a negative timeout', { service: 'inventory', timeout: -5 }],
  ['no keys at all', 'open all doors'],
])('a policy with %s brings its instances and is counted, and calls go on', async (_what, policy) => {
  const before = countOf(client, 'snapshot:rejected')
  registry.say('checkout', `${JSON.stringify({ ...registry.snapshotOf('inventory'), policy })}\n`)
  const busy = calls()
  await eventually('it is counted', () => countOf(client, 'snapshot:rejected') === before + 1)
  await busy
  expect(client.events().findLast(({ name }) => name === 'snapshot:rejected')?.payload).toMatchObject({
    subject: 'inventory',
    reason: expect.stringContaining('the last good policy stays in force'),
  })
  registry.say('checkout', `${JSON.stringify(registry.snapshotOf('inventory'))}\n`)
  await calls()
})

test('a line of 50 MB ends the session and costs no memory to speak of; the next session is fine', async () => {
  const before = process.memoryUsage().rss
  const [rejected, connected] = [countOf(client, 'snapshot:rejected'), countOf(client, 'registry:connected')]
  const block = 'x'.repeat(1024 * 1024)
  for (let i = 0; i < 50; i++) registry.say('checkout', block)
  const busy = calls()
  await eventually('it is counted', () => countOf(client, 'snapshot:rejected') > rejected)
  await eventually('there is a new session', () => countOf(client, 'registry:connected') > connected)
  await busy
  await calls()
  // Both ends are in this process, and the sender has 50 MB to get rid of.
  expect(process.memoryUsage().rss - before).toBeLessThan(300 * 1024 * 1024)
})

test('what a later version may say is not refused: unknown types, unknown keys', async () => {
  const rejected = countOf(client, 'snapshot:rejected')
  registry.say('checkout', `${JSON.stringify({ type: 'horoscope', sign: 'leo' })}\n`)
  const whole = JSON.stringify({ ...registry.snapshotOf('inventory'), revision: 50 })
  registry.say('checkout', `${whole.replace('{', '{"__proto__":{"polluted":1},"mood":"good",')}\n`)
  await applied.after(50)
  expect(countOf(client, 'snapshot:rejected')).toBe(rejected)
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  await calls()
})

test('an empty list is not believed at once', async () => {
  registry.say('checkout', `${JSON.stringify({ ...registry.snapshotOf('inventory'), instances: [], revision: 60 })}\n`)
  await applied.after(60)
  await calls()
  registry.say('checkout', `${JSON.stringify(registry.snapshotOf('inventory'))}\n`)
})

test('a whole list that is refused is not asked for again with each change that follows', async () => {
  const [asked, before] = [registry.asked.length, countOf(client, 'snapshot:rejected')]
  registry.instances.set('bad', registry.snapshotOf('inventory').instances[0]!)
  for (let revision = 700; revision < 720; revision++) {
    const delta = { type: 'delta', service: 'inventory', previous: revision, revision: revision + 1 }
    registry.say('checkout', `${JSON.stringify(delta)}\n`)
  }
  await eventually('one is refused', () => countOf(client, 'snapshot:rejected') > before)
  registry.instances.delete('bad')
  registry.say('checkout', `${JSON.stringify({ ...registry.snapshotOf('inventory'), revision: 800 })}\n`)
  await applied.after(800)
  expect(registry.asked.length).toBe(asked + 1)
  await calls()
})
