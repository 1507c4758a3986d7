import { afterEach, beforeEach, expect, it } from 'vitest'
import { freePort } from '../rigs/free-ports.ts'
import { Rig } from './rig.ts'

let rig: Rig
beforeEach(() => {
  rig = new Rig()
})
afterEach(() => rig.close())

it('workers of a cluster are instances by themselves without a port, and are warned with one', async () => {
  const registry = await rig.registry({ dev: true, memory: true })
  const joining = { service: 'inventory', registry: registry.url, stateDir: 'memory', joinTimeout: '30s' }
  const options = { ...joining, handleSignals: false, port: await freePort() }
  const workers = await rig.start('clustered', options)
  const ports = (): Set<unknown> => new Set(workers.messages.flatMap(({ served }) => served ?? []))
  await expect.poll(() => ports().size, { timeout: 30_000 }).toBe(2)
  const checkout = await rig.mesh(registry, 'checkout')
  const answered = new Set<string>()
  const call = async () => answered.add(await (await checkout.fetch('http://inventory/')).text())
  // At the same time: one after the other may all go to one.
  const ask = async () => {
    await Promise.all(Array.from({ length: 8 }, call))
    return answered.size
  }
  await expect.poll(ask, { timeout: 30_000 }).toBe(2)
  const warnings = () => workers.messages.flatMap(({ warning }) => warning ?? [])
  expect(warnings()).toEqual([])
  workers.tell('share')
  await expect.poll(warnings, { timeout: 30_000 }).toEqual(['INMESH_SHARED_PORT', 'INMESH_SHARED_PORT'])
})
