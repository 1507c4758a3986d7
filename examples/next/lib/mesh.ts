import { joinOnce, type Mesh } from 'inmesh'

/**
 * The mesh of this process. The first call joins; a reload of this module in development finds the
 * same mesh.
 */
export function mesh(): Promise<Mesh> {
  return joinOnce({
    service: 'web',
    // SIGTERM is Next's: it finishes its requests, which may still call into the mesh.
    handleSignals: false,
    // `next start` goes on after a join that failed, and would answer 500 from then on.
    startWithoutRegistry: true,
  })
}
