/**
 * Loads the rest of the library when it is first needed, within the call of the program: timers
 * that the program arms after the call do not run while modules load.
 */
import { createRequire } from 'node:module'
import { extname } from 'node:path'

type Options = typeof import('../mesh/resolve-options.ts')
type Opening = typeof import('../mesh/open-mesh.ts')
export type Library = Pick<Options, 'resolveMeshOptions'> & Pick<Opening, 'openMesh'>

/** A promise only where Node cannot `require` these modules now. */
export function loadLibrary(): Library | Promise<Library> {
  const require = createRequire(import.meta.url)
  // The build rewrites the extensions of imports only.
  const extension = extname(import.meta.filename)
  try {
    const { resolveMeshOptions } = require(`../mesh/resolve-options${extension}`) as Options
    const { openMesh } = require(`../mesh/open-mesh${extension}`) as Opening
    return { resolveMeshOptions, openMesh }
  } catch {
    // `--no-require-module`, a loader of the program, or the program imports them at this moment.
    return importLibrary()
  }
}

/** Before the mesh is needed. A failure is that of the need. */
export function preloadLibrary(): void {
  const loaded = loadLibrary()
  if (loaded instanceof Promise) loaded.catch(() => {})
}

async function importLibrary(): Promise<Library> {
  const [{ resolveMeshOptions }, { openMesh }] = await Promise.all([
    import('../mesh/resolve-options.ts'),
    import('../mesh/open-mesh.ts'),
  ])
  return { resolveMeshOptions, openMesh }
}
