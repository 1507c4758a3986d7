/** What the admin listener shows of the endpoints that a process calls. */
import { expect, test } from 'vitest'
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
  const { inFlight, estimateMs, reported, capacity } = await shown()
  expect([inFlight, reported!.inFlight, capacity]).toEqual([0, 0, undefined])
  expect(estimateMs).toBeGreaterThan(5)
  expect(reported!.latencyMs).toBeGreaterThan(5)
  expect(reported!.ageMs).toBeGreaterThanOrEqual(0)

  await testMesh.apply([{ service: 'inventory', balancer: { name: 'weighted-round-robin', weights: 'reported' } }])
  await expect.poll(async () => (await shown()).capacity?.perSecond).toBeGreaterThan(0)
  const { perSecond, share } = (await shown()).capacity!
  expect(perSecond).toBeLessThan(200)
  expect(share).toBe(1)
})
