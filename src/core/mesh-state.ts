/** The states of a process in the mesh. */

/**
 * - `starting`: it has no certificate yet (`startWithoutRegistry`)
 * - `ready`: it has joined
 * - `closing`: `mesh.drain()`, `mesh.close()` or a signal began its end; it finishes what runs
 * - `closed`
 */
export type MeshState = 'starting' | 'ready' | 'closing' | 'closed'
