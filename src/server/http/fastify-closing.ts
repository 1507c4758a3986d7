/** Lets a Fastify instance that closes leave the mesh first, and close last when the mesh does. */

interface Serving {
  /** Servers of the mesh that serve it. */
  servers: number
  readonly leave: Set<() => Promise<void>>
}

/** By its `node:http` server, which an instance shares with those within it. */
const served = new WeakMap<object, Serving>()

export function beginsToServe(server: object): void {
  const serving = served.get(server) ?? { servers: 0, leave: new Set() }
  serving.servers += 1
  served.set(server, serving)
}

/** `leave`: takes one of its servers out of the mesh. */
export function leavesBy(server: object, leave: () => Promise<void>): void {
  served.get(server)?.leave.add(leave)
}

/** One of its servers has closed. True if it was the last. */
export function ceasesToServe(server: object): boolean {
  const serving = served.get(server)
  if (serving === undefined) return true
  serving.servers -= 1
  if (serving.servers > 0) return false
  served.delete(server)
  return true
}

/** Resolves when no server of the mesh serves it any more. Never rejects. */
export async function leaveMesh(server: object): Promise<void> {
  const { leave } = served.get(server) ?? {}
  if (leave === undefined) return
  const all = [...leave]
  // Its end closes the instance, which would wait for itself.
  leave.clear()
  await Promise.allSettled(all.map((each) => each()))
}
