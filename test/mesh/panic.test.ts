import { afterEach, expect, it } from 'vitest'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { until } from '../client/http/rig.ts'

let test: TestMesh | undefined

afterEach(async () => {
  await test?.close()
})

it('too few healthy endpoints are an event and a counter, and so is their return', async () => {
  const ejection = { consecutiveFailures: 2, baseTime: '4s', maxTime: '4s' } as const
  test = await startTestMesh({
    policies: [
      { service: 'inventory', retry: { attempts: 1 }, circuitBreaker: false, balancer: 'round-robin', ejection },
    ],
  })
  const instances = []
  for (let i = 0; i < 3; i++) instances.push(await test.serve('inventory', (_req, res) => res.end('ok')))
  const caller = await test.join('checkout')
  const inventory = caller.http('inventory')
  const seen = (name: string): number => caller.events().filter((event) => event.name === name).length
  const panics = (): unknown[] =>
    caller
      .events()
      .filter(({ name }) => name === 'cluster:panic')
      .map(({ payload }) => payload.on)

  for (let i = 0; i < 60; i++) await inventory.get('/')
  for (const { faults } of instances.slice(0, 2)) {
    const before = seen('endpoint:ejected')
    faults.set({ status: 500 })
    for (let i = 0; i < 200 && seen('endpoint:ejected') === before; i++) await inventory.get('/')
  }
  expect(panics()).toEqual([true])
  expect(caller.metrics()).toMatch(/inmesh_client_panics_total\{[^}]*\} 1/)

  for (const { faults } of instances) faults.clear()
  await until(async () => {
    await inventory.get('/')
    return panics().length === 2
  })
  expect(panics()).toEqual([true, false])
})
