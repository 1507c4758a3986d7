/** Traffic of real processes at several registries, one of which dies. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { QUICK, Rig } from '../../end-to-end/rig.ts'
import { TestFleet } from '../../rigs/fleet.ts'

const LOOPBACK = { host: '127.0.0.1', port: 0 }
const PATIENT = { timeout: 60_000, interval: 500 }

let rig: Rig
let fleet: TestFleet

beforeEach(() => {
  rig = new Rig()
  fleet = new TestFleet()
})

afterEach(async () => {
  await rig.close()
  await fleet.close()
})

test('a third registry sums up what others heard, and says what died with one of them', {
  timeout: 180_000,
}, async () => {
  const [a, b, c, d] = [await fleet.start(), await fleet.start(), await fleet.start(), await fleet.start()]
  const join = (service: string, ...at: (typeof a)[]) =>
    rig.join({ service, registry: at.map(({ registry }) => registry.url), ...QUICK })
  const inventory = await join('inventory', b)
  await inventory.serve((_request, response) => response.end('hello'), LOOPBACK)
  const checkout = await join('checkout', a, d)
  // A process chooses one of its registries by chance.
  const home = a.registry.counts.sessions > 0 ? a : d
  const call = async () => (await checkout.http('inventory').get('/')).text()
  const graph = async () => (await fleet.ask(c, '/v1/traffic/graph?window=10m')).json

  for (let i = 0; i < 40; i++) await call()
  // A registry that answers late is unreachable, so all of it is asked for again.
  await expect.poll(graph, PATIENT).toMatchObject({
    edges: [{ from: 'checkout', to: 'inventory', calls: 40, success: 1, tls: true, gap: 0 }],
    coverage: { processes: 2, heard: 2, unreachable: [], registries: expect.arrayContaining(['r1', 'r2', 'r3', 'r4']) },
  })
  const instances = async () => (await fleet.ask(c, '/v1/traffic/instances?service=inventory')).json.instances
  await expect
    .poll(instances, PATIENT)
    .toMatchObject([{ registry: 'r2', served: { share: 1, success: 1, inFlight: 0 } }])

  const before = checkout.events().filter(({ name }) => name === 'registry:connected').length
  await fleet.kill(home)
  const connected = () => checkout.events().filter(({ name }) => name === 'registry:connected').length
  await expect.poll(connected, PATIENT).toBeGreaterThan(before)
  for (let i = 0; i < 30; i++) await call()
  await expect
    .poll(async () => (await graph()).coverage.unreachable, PATIENT)
    .toMatchObject([{ registry: home === a ? 'r1' : 'r4', reason: expect.stringContaining('gone') }])
  await expect.poll(async () => (await graph()).edges[0]?.calls, PATIENT).toBe(30)
  await expect.poll(async () => (await graph()).coverage.processes, PATIENT).toBe(2)
})
