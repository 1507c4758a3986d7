import { joinMesh, type Mesh, MeshError } from 'inmesh'
import { guard } from 'inmesh/resilience'

test('imports are typed and loaded', async () => {
  const join: (options: { service: string }) => Promise<Mesh> = joinMesh
  expect(typeof join).toBe('function')
  const failing: Promise<number> = guard(async (): Promise<number> => new Promise(() => {}), { timeout: '20ms' })()
  await expect(failing).rejects.toBeInstanceOf(MeshError)
})
