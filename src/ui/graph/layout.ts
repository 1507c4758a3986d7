/** Places services in layers from callers to called. Only the shape of the graph counts. */
import { Graph as Layered, layout } from '@dagrejs/dagre'
import { type Ends, framework } from './framework.ts'

/** `roomy`: each edge has its figures beside it; `dense`: those of most are in the table only. */
export type Density = 'roomy' | 'dense'

export const NODE: Readonly<Record<Density, { readonly width: number; readonly height: number }>> = {
  roomy: { width: 184, height: 68 },
  dense: { width: 164, height: 46 },
}
const LABEL = { width: 124, height: 46, labelpos: 'c' } as const
const SETTINGS = {
  roomy: { ranker: 'tight-tree', nodesep: 34, edgesep: 18, ranksep: 110, marginx: 20, marginy: 22 },
  // The fastest of many edges: short ones, and few against the direction.
  dense: {
    ...{ ranker: 'network-simplex', acyclicer: 'greedy' },
    ...{ nodesep: 14, edgesep: 8, ranksep: 76, marginx: 16, marginy: 16 },
  },
} as const
/** More services or edges than these have no room for figures. */
const ROOMY = { services: 30, edges: 40 } as const

export interface Point {
  readonly x: number
  readonly y: number
}

export interface Course {
  readonly points: readonly Point[]
  /** Where its figures stand. */
  readonly label: Point
}

export interface Layout {
  readonly density: Density
  readonly width: number
  readonly height: number
  /** The middle of each service. */
  readonly nodes: ReadonlyMap<string, Point>
  /** By {@link edgeKey}: the course of each edge. */
  readonly edges: ReadonlyMap<string, Course>
}

export function edgeKey(from: string, to: string): string {
  return `${from}\n${to}`
}

export function layoutOf(services: readonly string[], edges: readonly Ends[]): Layout {
  const density = services.length > ROOMY.services || edges.length > ROOMY.edges ? 'dense' : 'roomy'
  const graph = new Layered({ directed: true })
  graph.setGraph({ rankdir: 'LR', ...SETTINGS[density] })
  graph.setDefaultEdgeLabel(() => ({}))
  for (const service of services) graph.setNode(service, { ...NODE[density] })
  for (const { from, to } of framework(edges)) graph.setEdge(from, to, density === 'roomy' ? { ...LABEL } : {})
  layout(graph)
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number }
  const nodes = new Map(services.map((service) => [service, graph.node(service) as unknown as Point]))
  const courses = new Map(
    edges.map(({ from, to }) => {
      const laid = graph.edge(from, to) as unknown as LaidEdge | undefined
      const { points, x, y } = laid ?? straight(nodes.get(from)!, nodes.get(to)!)
      const middle = points[Math.floor(points.length / 2)]!
      const label = { x: x ?? middle.x, y: y ?? middle.y }
      const isLevel = density === 'roomy' && from !== to
      return [edgeKey(from, to), { points: isLevel ? levelAt(points, label) : points, label }] as const
    }),
  )
  return { density, width, height, nodes, edges: docked(edges, courses, nodes, NODE[density]) }
}

interface LaidEdge {
  readonly points: Point[]
  readonly x?: number
  readonly y?: number
}

function straight(from: Point, to: Point): LaidEdge {
  return { points: [from, to], x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 }
}

/** Straight below its figures. */
function levelAt(points: readonly Point[], label: Point): Point[] {
  const half = points[0]!.x <= points.at(-1)!.x ? LABEL.width / 2 : -LABEL.width / 2
  return points.flatMap((point) =>
    point.x === label.x && point.y === label.y
      ? [
          { x: label.x - half, y: label.y },
          { x: label.x + half, y: label.y },
        ]
      : [point],
  )
}

/** Lines leave and reach a service at its sides, no two in one place. */
function docked(
  edges: readonly Ends[],
  courses: ReadonlyMap<string, Course>,
  nodes: ReadonlyMap<string, Point>,
  { width, height }: { readonly width: number; readonly height: number },
): Map<string, Course> {
  const found = new Map([...courses].map(([key, { points, label }]) => [key, { points: [...points], label }]))
  const ends = edges.flatMap(({ from, to }) => {
    const { points } = found.get(edgeKey(from, to))!
    if (from === to) return []
    return [
      { service: from, points, at: 0, next: points[1]! },
      { service: to, points, at: points.length - 1, next: points.at(-2)! },
    ]
  })
  const sides = Map.groupBy(ends, ({ service, next }) => `${service}\n${next.x >= nodes.get(service)!.x}`)
  for (const side of sides.values()) {
    const middle = nodes.get(side[0]!.service)!
    const isRight = side[0]!.next.x >= middle.x
    const step = Math.min(16, (height - 16) / Math.max(1, side.length - 1))
    side.sort((a, b) => a.next.y - b.next.y)
    for (const [i, { points, at }] of side.entries()) {
      const y = middle.y + (i - (side.length - 1) / 2) * step
      points[at] = { x: middle.x + (isRight ? width / 2 : -width / 2), y }
    }
  }
  return found
}
