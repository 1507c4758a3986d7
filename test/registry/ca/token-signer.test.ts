/** How many tokens one caller gets, on a clock that moves only when told to. */
import { expect, test } from 'vitest'
import { TokenSigner } from '../../../src/registry/ca/token-signer.ts'
import { TrustStore } from '../../../src/registry/ca/trust-store.ts'
import { RegistryState } from '../../../src/registry/state.ts'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

test('a caller gets a burst of 200 tokens and then 20 a second; others are not kept from theirs', async () => {
  const clock = new FakeClock()
  const state = await RegistryState.load(new MemoryStorage(), () => {})
  const store = await TrustStore.open(state, { trustDomain: 'mesh.test', lifeMs: 86_400_000 }, clock)
  const signer = new TokenSigner(store, clock)
  const peer = { spiffeId: 'spiffe://mesh.test/service/a', service: 'a', notAfter: Infinity, source: '10.0.0.1' }
  for (let i = 0; i < 200; i++) await signer.sign(peer, 'inventory')
  await expect(signer.sign(peer, 'inventory')).rejects.toMatchObject({ code: 'rate-limited', status: 429 })
  await signer.sign({ ...peer, source: '10.0.0.2' }, 'inventory')
  clock.advance(1_000)
  for (let i = 0; i < 20; i++) await signer.sign(peer, 'inventory')
  await expect(signer.sign(peer, 'inventory')).rejects.toMatchObject({ code: 'rate-limited' })
  state.close()
})
