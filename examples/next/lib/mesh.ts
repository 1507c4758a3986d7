import { joinOnce, type Mesh } from 'inmesh'

/**
 * The mesh of this process. The first call joins; a reload of this module in development finds the
 * same mesh.
 */
export function mesh(): Promise<Mesh> {
  // SIGTERM is Next's: it finishes its requests, which may still call into the mesh.
  return joinOnce({ service: 'web', handleSignals: false })
}
