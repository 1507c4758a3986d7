/**
 * The class `Mesh` as Nest's dependency injection needs it: a value that stands for a type. The
 * real one would load the whole library with it.
 */
import type { Mesh as JoinedMesh } from '../../mesh/mesh.ts'

/**
 * The mesh that `MeshModule` has joined; inject it by its type.
 *
 * @example
 * ```ts
 * @Injectable()
 * class Reports {
 *   constructor(private readonly mesh: Mesh) {}
 * }
 * ```
 */
export type Mesh = JoinedMesh

/** The injection token of the mesh: for `inject: [Mesh]` and `app.get(Mesh)`. */
export const Mesh = class Mesh {
  constructor() {
    throw new TypeError("Mesh is made by MeshModule.forRoot(); inject it, or call joinMesh() of 'inmesh'")
  }
} as unknown as abstract new () => JoinedMesh

/**
 * What the library itself injects and finds, so that the error names the module to import.
 *
 * @throws Error if no module of the application has joined
 */
export function joined(mesh: Mesh | undefined): Mesh {
  if (mesh !== undefined) return mesh
  throw new Error("no module has joined the mesh: import MeshModule.forRoot({ service: '…' }) once, in the root module")
}
