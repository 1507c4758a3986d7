/** Opens a mesh, which takes calls while it joins. */
import { inBackground } from '../core/background-clock.ts'
import { createMeshContext } from './context.ts'
import { Mesh } from './mesh.ts'
import type { MeshSettings } from './options.ts'

export interface OpenedMesh {
  readonly mesh: Mesh
  /** Resolves, or rejects, as `joinMesh` does. */
  readonly joined: Promise<Mesh>
}

/** `background`: joining keeps no process alive, and the caller tells how it goes. */
export async function openMesh(settings: MeshSettings, background = false): Promise<OpenedMesh> {
  const untilAt = settings.clock.now() + settings.joinTimeoutMs
  const context = await createMeshContext(settings)
  const mesh = new Mesh(context)
  const waits = background ? inBackground(settings.clock) : settings.clock
  const joined = mesh.start(untilAt, waits).then(() => {
    if (mesh.stale && !background) context.registryAbsence.startsWithout(wayOf(mesh))
    return mesh
  })
  return { mesh, joined }
}

/** What `joinMesh` does once the options are known to be right. */
export async function startMesh(settings: MeshSettings): Promise<Mesh> {
  return (await openMesh(settings)).joined
}

function wayOf({ state }: Mesh): string {
  return state === 'ready' ? 'with what is on disk' : 'without an identity, and goes on trying'
}
