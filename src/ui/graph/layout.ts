/** Places services in layers from callers to called. Only the shape of the graph counts. */
import { Graph as Layered, layout } from '@dagrejs/dagre'

export const NODE = { width: 168, height: 56 } as const

export interface Point {
  readonly x: number
  readonly y: number
}

export interface Layout {
  readonly width: number
  readonly height: number
  /** The middle of each service. */
  readonly nodes: ReadonlyMap<string, Point>
  /** By {@link edgeKey}: the course of each edge. */
  readonly edges: ReadonlyMap<string, readonly Point[]>
}

export function edgeKey(from: string, to: string): string {
  return `${from}\n${to}`
}

export function layoutOf(
  services: readonly string[],
  edges: readonly { readonly from: string; readonly to: string }[],
): Layout {
  const graph = new Layered({ directed: true })
  graph.setGraph({ rankdir: 'LR', ranker: 'tight-tree', nodesep: 36, ranksep: 130, marginx: 12, marginy: 24 })
  graph.setDefaultEdgeLabel(() => ({}))
  for (const service of services) graph.setNode(service, { ...NODE })
  for (const { from, to } of edges) graph.setEdge(from, to, { width: 120, height: 34, labelpos: 'c' })
  layout(graph)
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number }
  return {
    width,
    height,
    nodes: new Map(services.map((service) => [service, graph.node(service) as unknown as Point])),
    edges: new Map(
      edges.map(({ from, to }) => [edgeKey(from, to), (graph.edge(from, to) as unknown as { points: Point[] }).points]),
    ),
  }
}
