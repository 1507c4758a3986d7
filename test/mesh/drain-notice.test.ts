import { expect, it } from 'vitest'
import { joinMesh } from '../../src/index.ts'
import { startRegistry } from '../../src/registry/index.ts'

it('a drain during which the registry fails waits its whole notice, because watchers may not have seen it', async () => {
  const registry = await startRegistry({ port: 0, memory: true, dev: true, log: false })
  const mesh = await joinMesh({
    service: 'inventory',
    registry: registry.url,
    stateDir: 'memory',
    handleSignals: false,
    drainNotice: '3s',
    drainTimeout: '1s',
  })
  await mesh.serve((_request, response) => response.end('ok'), { host: '127.0.0.1' })
  await registry.close()
  await expect.poll(() => mesh.events().some(({ name }) => name === 'registry:lost')).toBe(true)
  const at = performance.now()
  await mesh.close()
  // The bound of a drain of which no one can tell who saw it was 2 s.
  expect(performance.now() - at).toBeGreaterThan(2_900)
})
