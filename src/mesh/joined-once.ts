/** Where the one mesh of a process is kept, apart from how it is joined. */
import type { Mesh } from './mesh.ts'
import type { MeshSettings } from './options.ts'

export interface JoinedOnce {
  readonly settings: MeshSettings
  readonly mesh: Promise<Mesh>
  /** `undefined` while it joins. */
  open: Mesh | undefined
  /** `inmesh/auto` has joined, with options that its program could not know. */
  readonly byAuto: boolean
}

/** Reloaded modules, and other copies of this library, share nothing but the global object. */
const KEY = Symbol.for('inmesh.joinedOnce')
const shared = globalThis as { [KEY]?: JoinedOnce | undefined }

/** `undefined`: there is none, or it leaves. */
export function joinedOnce(): JoinedOnce | undefined {
  const joined = shared[KEY]
  return joined?.open?.leaving === true ? undefined : joined
}

/** Until it leaves or fails, it is the mesh of this process. */
export function keepJoined(joined: JoinedOnce): void {
  shared[KEY] = joined
  joined.mesh.then(
    (mesh) => {
      joined.open = mesh
    },
    () => {
      if (shared[KEY] === joined) shared[KEY] = undefined
    },
  )
}
