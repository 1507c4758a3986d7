/** Public types of `mesh.serve` and `mesh.serveGrpc`, apart from their implementation. */
import type { ServerStats } from '../server/server-base.ts'

/** A server in the mesh; made by `mesh.serve` or `mesh.serveGrpc`. */
export interface MeshServer {
  /** The address listened on. */
  readonly address: string
  readonly port: number
  /** Counts since the start, and current values. */
  readonly stats: ServerStats
  /**
   * Takes only this server out of the mesh, without losing a request. `mesh.close()` does so for
   * all of them.
   */
  close(): Promise<void>
  /** @internal Cancels what runs. */
  end(): Promise<unknown>
}

/**
 * A `Server` of `@grpc/grpc-js`, as far as the mesh's types need to know it: they must do without
 * its package.
 */
export interface GrpcServing {
  addService(service: never, implementation: never): void
  createConnectionInjector(credentials: never): object
}

/** A server of nice-grpc, as far as the mesh's types need to know it. */
export interface NiceGrpcServing {
  listen(address: string): Promise<number>
  shutdown(): Promise<void>
  forceShutdown(): void
}
