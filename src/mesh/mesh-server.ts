/** What `mesh.serve` gives to its caller; apart from what makes it, so that the public types stay small. */
import type { HttpServerStats } from '../server/http-server.ts'

/** A server in the mesh; made by `mesh.serve`. */
export interface MeshServer {
  /** The address listened on. */
  readonly address: string
  readonly port: number
  /** Counts since the start, and what is there now. */
  readonly stats: HttpServerStats
  /** Takes only this server out of the mesh, without losing a request; `mesh.close()` does it for all. */
  close(): Promise<void>
}
