/**
 * Entry point of the mesh. It validates the options and loads the rest (undici, TLS, HTTP/2) only
 * then, so `import 'inmesh'` alone costs next to nothing.
 */
import { tellJoining } from './joining.ts'
import type { Mesh } from './mesh.ts'
import type { OpenedMesh } from './open-mesh.ts'
import type { MeshOptions, MeshSettings } from './options.ts'
import { resolveMeshOptions } from './resolve-options.ts'

/**
 * Joins the mesh: resolves when this process has its identity and a first snapshot, live or from
 * its last run; after `joinTimeout` also without a snapshot, if the identity is from its last run.
 * Then every caller is denied until a registry answers.
 *
 * @param options - see {@link MeshOptions}; each can come from an `INMESH_*` variable
 * @throws OptionsError naming each wrong option
 * @throws MeshError `registry-unavailable` after `joinTimeout` when there is neither a registry nor
 * a certificate on disk (not with `startWithoutRegistry`), `join-refused` when the registry
 * refuses, `identity-rejected` when its root is not that of the token or of the certificate on disk
 * @example
 * ```ts
 * const mesh = await joinMesh({ service: 'checkout' })
 * await mesh.serve(app, { port: 8080 })
 * const response = await mesh.fetch('http://inventory/items/42')
 * ```
 */
export async function joinMesh(options?: MeshOptions): Promise<Mesh> {
  const settings = resolveMeshOptions(options)
  const opening = open(settings)
  tellJoining(opening)
  return (await opening).joined
}

async function open(settings: MeshSettings): Promise<OpenedMesh> {
  if (settings.debug !== undefined) {
    const { startDebugLog } = await import('../telemetry/debug/debug-log.ts')
    startDebugLog(settings.debug)
  }
  const { openMesh } = await import('./open-mesh.ts')
  return openMesh(settings)
}
