/** What the admin listener shows of the endpoints that a process calls. */
import { expect, onTestFinished, test } from 'vitest'
import { joinMesh } from '../../src/index.ts'
import { startTestMesh } from '../../src/testing/index.ts'

interface Shown {
  readonly inFlight: number
  readonly estimateMs: number
  readonly reported?: {
    readonly inFlight: number
    readonly latencyMs: number
    readonly ageMs: number
    readonly valid: boolean
  }
  readonly capacity?: { readonly perSecond: number; readonly share: number }
}

test('it shows what the balancer goes by: reports, their age, what we measure, and the weight by reports', async () => {
  await using testMesh = await startTestMesh()
  await testMesh.serve('inventory', (_request, response) => setTimeout(() => response.end('ok'), 10))
  const checkout = await testMesh.join('checkout', { adminPort: 0 })
  const shown = async (): Promise<Shown> => {
    for (let i = 0; i < 3; i++) await (await checkout.http('inventory').get('/')).text()
    const answer = await fetch(`http://127.0.0.1:${checkout.adminPort}/endpoints`)
    return ((await answer.json()) as { inventory: [Shown] }).inventory[0]
  }
  await expect.poll(async () => (await shown()).reported?.valid).toBe(true)
  await expect.poll(async () => (await shown()).reported!.inFlight).toBe(0)
  const { inFlight, estimateMs, reported, capacity } = await shown()
  expect([inFlight, capacity]).toEqual([0, undefined])
  expect(estimateMs).toBeGreaterThan(5)
  expect(reported!.latencyMs).toBeGreaterThan(5)
  expect(reported!.ageMs).toBeGreaterThanOrEqual(0)

  await testMesh.apply([{ service: 'inventory', balancer: { name: 'weighted-round-robin', weights: 'reported' } }])
  await expect.poll(async () => (await shown()).capacity?.perSecond).toBeGreaterThan(0)
  const { perSecond, share } = (await shown()).capacity!
  expect(perSecond).toBeLessThan(200)
  expect(share).toBe(1)
})

test('probes and scrapers read it off the machine by variables: ready once joined, and not while it drains', async () => {
  await using testMesh = await startTestMesh()
  const variables = {
    INMESH_ADMIN_HOST: '0.0.0.0',
    INMESH_ADMIN_PORT: '0',
    INMESH_ADMIN_ALLOW: '10.0.0.0/8, 127.0.0.1',
    INMESH_ADMIN_LISTENER_TOKEN: 'a-token-of-some-length',
  }
  Object.assign(process.env, variables)
  onTestFinished(() => {
    for (const name of Object.keys(variables)) delete process.env[name]
  })
  const mesh = await joinMesh({
    ...{ service: 'inventory', registry: testMesh.registry.url, stateDir: 'memory', handleSignals: false },
    ...{ drainNotice: '500ms', drainTimeout: '50s', joinTimeout: '30s' },
  })
  const at = `http://127.0.0.1:${mesh.adminPort}`
  const held: (() => void)[] = []
  await mesh.serve((_request, response) => void held.push(() => response.end('x')))
  // It holds the drain up until it was seen.
  const asked = (await testMesh.join('checkout')).fetch('http://inventory/', { timeout: '50s' })
  await expect.poll(() => held.length).toBe(1)
  expect(await (await fetch(`${at}/livez`)).text()).toBe('ok\n')
  expect((await fetch(`${at}/readyz`)).status).toBe(200)
  expect(await (await fetch(`${at}/metrics`)).text()).toContain('inmesh_')
  const closing = mesh.close()
  const draining = await fetch(`${at}/readyz`)
  expect([draining.status, await draining.text()]).toEqual([503, 'draining\n'])
  held[0]!()
  expect(await (await asked).text()).toBe('x')
  await closing
})

test('a process without a registry is alive and not ready', async () => {
  const mesh = await joinMesh({
    ...{ service: 'inventory', registry: 'https://127.0.0.1:1', stateDir: 'memory', handleSignals: false },
    ...{ startWithoutRegistry: true, admin: { port: 0 } },
  })
  const at = `http://127.0.0.1:${mesh.adminPort}`
  expect((await fetch(`${at}/livez`)).status).toBe(200)
  expect(await (await fetch(`${at}/readyz`)).text()).toBe('not joined: no certificate yet\n')
  await mesh.close()
  await expect(joinMesh({ service: 'inventory', adminPort: 0, admin: {} })).rejects.toThrow(/adminPort: .*admin.port/)
})
