/** Many who ask the same at once get one answer. */
import { expect, test, vi } from 'vitest'
import { SILENT_LOG } from '../../../src/registry/log.ts'
import { RegistryState } from '../../../src/registry/state.ts'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'
import { MeshTraffic } from '../../../src/registry/traffic/mesh-traffic.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

test('a graph is summed up once for all who ask within a second, and anew after a change', async () => {
  const clock = new FakeClock({ wallNow: Date.UTC(2026, 5, 1, 12, 0, 3) })
  const state = await RegistryState.load(new MemoryStorage(), () => {})
  const watched = vi.spyOn(state, 'onChange')
  const traffic = new MeshTraffic({
    ...{ clock, state, id: 'r1', log: SILENT_LOG, leaseMs: 15_000, beatMs: 5_000 },
    ...{ isKnown: () => true, lists: () => false, leases: { isFrozen: () => false } },
    failed: (error) => expect.unreachable(String(error)),
    fleet: { peers: [], askPeers: async () => [] },
  })
  // Each sum reads the inventory once.
  const sums = vi.spyOn(state, 'services', 'get')
  const ask = (windowMs = 60_000) => traffic.graph({ windowMs, at: undefined, isLocal: false })

  const all = await Promise.all([ask(), ask(), ask(), ask(30_000)])
  expect(new Set(all).size).toBe(2)
  expect(sums).toHaveBeenCalledTimes(2)

  for (const [changed] of watched.mock.calls) changed({ service: 'inventory', put: [], gone: [] } as never)
  expect(await ask()).not.toBe(all[0])
  expect(sums).toHaveBeenCalledTimes(3)

  clock.advance(900)
  await ask()
  expect(sums).toHaveBeenCalledTimes(3)
  clock.advance(100)
  await ask()
  expect(sums).toHaveBeenCalledTimes(4)
  traffic.close()
})
