/** Tells `inmesh/auto` that the application itself joins the mesh. Loads nothing. */
import type { Mesh } from './mesh.ts'

type Observer = (joining: Promise<Mesh>) => void

let observer: Observer | undefined

export function observeJoining(next: Observer): void {
  observer = next
}

export function tellJoining(joining: Promise<Mesh>): void {
  observer?.(joining)
}
