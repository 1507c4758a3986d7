import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Rig } from './rig.ts'

let rig: Rig
beforeEach(() => {
  rig = new Rig()
})
afterEach(() => rig.close())

it('workers of a cluster are instances by themselves without a port, and are warned with one', async () => {
  const registry = await rig.registry({ dev: true, memory: true })
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  const options = { service: 'inventory', registry: registry.url, stateDir: 'memory', handleSignals: false, port }
  const workers = await rig.start('clustered', options)
  const ports = (): Set<unknown> => new Set(workers.messages.flatMap(({ served }) => served ?? []))
  await expect.poll(() => ports().size, { timeout: 30_000 }).toBe(2)
  const checkout = await rig.mesh(registry, 'checkout')
  const answered = new Set<string>()
  const ask = async () => answered.add(await (await checkout.fetch('http://inventory/')).text()).size
  await expect.poll(ask, { timeout: 30_000 }).toBe(2)
  const warnings = () => workers.messages.flatMap(({ warning }) => warning ?? [])
  expect(warnings()).toEqual([])
  workers.tell('share')
  await expect.poll(warnings, { timeout: 30_000 }).toEqual(['INMESH_SHARED_PORT', 'INMESH_SHARED_PORT'])
})
