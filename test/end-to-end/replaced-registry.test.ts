/** A registry that comes back at its address with another root. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import { countOf, eventually, Rig, wait } from './rig.ts'

const LEASE = { lease: 1_000 }
/** Several attempts to reconnect, whose pauses end at 40 % of the lease. */
const SEVERAL_ATTEMPTS_MS = 2_500

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

const unreachable = (mesh: Mesh, reason: RegExp): number =>
  mesh.events().filter(({ name, payload }) => name === 'registry:unreachable' && reason.test(String(payload.reason)))
    .length

async function answerOf(mesh: Mesh): Promise<string> {
  const response = await mesh.http('inventory').get('/', { timeout: '1s' })
  return response.text()
}

test('a --dev registry restarted without its data is joined again by every process that it let in', async () => {
  const first = await rig.start('registry', { ...LEASE, dev: true })
  const { url, port } = first.messages[0] as unknown as { url: string; port: number }
  const inventory = { service: 'inventory', registry: url, stateDir: rig.path('inventory') }
  await rig.start('service', { mesh: inventory, name: 'ok' })
  const client = await rig.join({ service: 'checkout', registry: url })
  await eventually('it is served', async () => (await answerOf(client).catch(() => '')) === 'ok')

  await first.kill()
  await eventually('the loss is reported', () => countOf(client, 'registry:lost') > 0)
  await rig.start('registry', { ...LEASE, port, dev: true })
  await eventually('there is a session again', () => countOf(client, 'registry:connected') === 2)
  expect(client.events().find(({ name }) => name === 'identity:renewed')?.payload).toMatchObject({ rejoined: true })
  // A newcomer knows the instance only from the new registry.
  const newcomer = await rig.join({ service: 'checkout', registry: url })
  await eventually('the service is found and trusted', async () => (await answerOf(newcomer).catch(() => '')) === 'ok')
  await eventually('the old caller is served again', async () => (await answerOf(client).catch(() => '')) === 'ok')
}, 240_000)

test('a process that joined with a token follows no --dev registry, and says once why it has no session', async () => {
  const first = await rig.start('registry', { ...LEASE, tokens: ['inventory', 'checkout'] })
  const { url, port, tokens } = first.messages[0] as unknown as {
    url: string
    port: number
    tokens: Record<string, string>
  }
  const stateDir = rig.path('checkout')
  const joined = await rig.join({ service: 'checkout', registry: url, stateDir, joinToken: tokens.checkout! })
  await joined.close()
  // With the certificate on disk, no token is needed any more.
  const restored = await rig.join({ service: 'checkout', registry: url, stateDir })
  const withToken = await rig.join({ service: 'inventory', registry: url, joinToken: tokens.inventory! })
  await first.kill()
  await rig.start('registry', { ...LEASE, port, dev: true })
  for (const mesh of [restored, withToken]) {
    await eventually('the reason is reported', () => unreachable(mesh, /untrusted-issuer/) === 1)
  }
  await wait(SEVERAL_ATTEMPTS_MS)
  for (const mesh of [restored, withToken]) {
    expect(unreachable(mesh, /untrusted-issuer/)).toBe(1)
    expect(countOf(mesh, 'registry:connected')).toBe(1)
    expect(countOf(mesh, 'identity:renewed')).toBe(0)
  }
}, 240_000)

test('a process that a --dev registry let in reports once that the next registry wants a token', async () => {
  const first = await rig.start('registry', { ...LEASE, dev: true })
  const { url, port } = first.messages[0] as unknown as { url: string; port: number }
  const mesh = await rig.join({ service: 'checkout', registry: url })
  await first.kill()
  await rig.start('registry', { ...LEASE, port })
  const refusals = (): number =>
    mesh.events().filter(({ name, payload }) => name === 'identity:failed' && /token/.test(String(payload.reason)))
      .length
  await eventually('the refusal is reported', () => refusals() === 1)
  await wait(SEVERAL_ATTEMPTS_MS)
  expect(refusals()).toBe(1)
  expect(unreachable(mesh, /untrusted-issuer/)).toBe(1)
}, 240_000)
