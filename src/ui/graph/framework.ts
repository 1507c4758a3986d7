/**
 * The edges that decide where services stand. The time of a layout grows with the square of its
 * edges, so the others run straight between services that have their place.
 */

/** Of a picture with up to 80 services; the layout takes 40 ms then. */
export const MOST_LAID = 120

export interface Ends {
  readonly from: string
  readonly to: string
}

/** All edges if they are few; otherwise first those that hold the picture together. */
export function framework<E extends Ends>(edges: readonly E[]): readonly E[] {
  const loops = edges.filter(({ from, to }) => from === to)
  const others = edges.filter(({ from, to }) => from !== to)
  if (others.length <= MOST_LAID) return edges
  const joining = new Set(joiningEdges(others))
  const rest = others.filter((edge) => !joining.has(edge))
  const room = Math.max(0, MOST_LAID - joining.size)
  // Evenly of all callers.
  const spread = Array.from({ length: room }, (_, i) => rest[Math.floor((i * rest.length) / room)]!)
  return [...loops, ...joining, ...spread]
}

/** Those that join services, or groups of them, that no edge before joined. */
function joiningEdges<E extends Ends>(edges: readonly E[]): readonly E[] {
  const parents = new Map<string, string>()
  const groupOf = (service: string): string => {
    let group = service
    for (let parent = parents.get(group); parent !== undefined; parent = parents.get(group)) group = parent
    return group
  }
  return edges.filter(({ from, to }) => {
    const [one, other] = [groupOf(from), groupOf(to)]
    if (one !== other) parents.set(one, other)
    return one !== other
  })
}
