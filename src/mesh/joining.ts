/** Tells `inmesh/auto` that the application itself joins the mesh. Loads nothing. */
import type { OpenedMesh } from './open-mesh.ts'

type Observer = (opening: Promise<OpenedMesh>) => void

let observer: Observer | undefined

export function observeJoining(next: Observer): void {
  observer = next
}

export function tellJoining(opening: Promise<OpenedMesh>): void {
  observer?.(opening)
}
