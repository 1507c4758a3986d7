/**
 * How a server treats plaintext connections.
 *
 * - `strict`: only mTLS with an identity of the mesh
 * - `permissive`: the same port also accepts plaintext from callers without identity, for moving a
 *   service into the mesh
 * - `plaintext`: no TLS
 */
export type ServerMode = 'strict' | 'permissive' | 'plaintext'
