/** How a server treats plaintext connections. */
/**
 * - `strict`: mTLS with an identity of the mesh, nothing else.
 * - `permissive`: the same port also takes plaintext; such callers have no identity. For moving a
 *   service into the mesh.
 * - `plaintext`: no TLS at all.
 */
export type ServerMode = 'strict' | 'permissive' | 'plaintext'
