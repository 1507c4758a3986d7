/**
 * 120 instances at one address reconnect to the registry at once, while a caller sends 100 requests
 * a second. `INMESH_HERD=500` runs 500, bounded by 10 s of the registry's CPU time.
 */
import { chmodSync, cpSync, rmSync } from 'node:fs'
import { env } from 'node:process'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Fleet } from './fleet.ts'
import { eventually, type Process, Rig, wait } from './rig.ts'

const CROWD = Number(env.INMESH_HERD ?? 120)
/** One to a process, which holds all of its instances. */
const SERVICES = Array.from({ length: Math.ceil(CROWD / 50) }, (_, i) => `crowd-${i}`)
const LEASE_MS = 3_000
/** Of the registry, beside what its start takes: about 1 s on a machine that has time. */
const MOST_CPU_MS = Math.max(3_000, CROWD * 20)
/** Of waiting on a machine with other work to do. */
const PATIENCE_MS = Math.max(120_000, CROWD * 600)

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

async function sum(crowd: readonly Process[], order: string): Promise<number> {
  const answers = await Promise.all(crowd.map((process) => process.ask(order)))
  return answers.reduce((total, answer) => total + Number(Object.values(answer)[0]), 0)
}

function copy(from: string, to: string): void {
  cpSync(rig.path(from), rig.path(to), { recursive: true, preserveTimestamps: true })
  chmodSync(rig.path(to), 0o700)
}

test(`${CROWD} instances come back to a registry at once: none fails, no request is lost`, async () => {
  const fleet = await Fleet.start(rig, ['a', 'b'], {
    leaseMs: LEASE_MS,
    services: SERVICES,
  })
  await fleet.registry.kill()
  copy('registry', 'before the crowd')
  await fleet.startRegistry()
  const startMs = (await fleet.counts()).cpuMs
  const mostCpuMs = startMs + MOST_CPU_MS * Math.max(1, startMs / 1_000)
  const crowd = await Promise.all(
    SERVICES.map(async (service, i) => {
      const size = Math.floor((CROWD * (i + 1)) / SERVICES.length) - Math.floor((CROWD * i) / SERVICES.length)
      const joined = { ...fleet.mesh(service), stateDir: 'memory', joinTimeout: PATIENCE_MS, handleSignals: false }
      const process = rig.spawn('crowd', { size, service: 'inventory', serve: true, mesh: { service, ...joined } })
      await process.message(() => true, 0, PATIENCE_MS)
      return process
    }),
  )
  for (const service of SERVICES) fleet.client.http(service)
  const listed = (): number => SERVICES.reduce((total, service) => total + fleet.listedOf(service), 0)
  const everybodyIsListed = (): Promise<void> =>
    eventually('the caller knows all instances', () => listed() === CROWD, PATIENCE_MS)
  await everybodyIsListed()

  const comesBack = async (timeout: string): Promise<void> => {
    await fleet.startRegistry()
    await fleet.inTouch(CROWD + 3, PATIENCE_MS)
    await everybodyIsListed()
    // Only a member whose session serves it hears of a change.
    const changes = SERVICES.map((service) => ({ service, timeout }))
    const { revision } = await fleet.registry.ask(JSON.stringify(changes))
    const told = async (): Promise<boolean> => (await sum(crowd, String(revision))) === CROWD
    await eventually('all members hear of a change', told, PATIENCE_MS)
    expect((await fleet.counts()).cpuMs).toBeLessThan(mostCpuMs)
  }

  await fleet.registry.kill()
  await comesBack('901ms')

  // So long that all leases would have ended.
  await fleet.registry.kill()
  await wait(2 * LEASE_MS)
  await comesBack('902ms')

  // With a store that knows none of them, so that each instance is written again.
  await fleet.registry.kill()
  rmSync(rig.path('registry'), { recursive: true })
  copy('before the crowd', 'registry')
  await comesBack('903ms')

  expect(await sum(crowd, 'lost')).toBe(CROWD)
  expect(await sum(crowd, 'refused')).toBe(0)
  expect(await sum(crowd, 'call')).toBe(CROWD)
  const { lost, answered } = await fleet.settle()
  expect(lost).toEqual([])
  expect(answered).toBeGreaterThan(500)
}, 600_000)
