/** Which part of a large mesh is drawn: what a filter names, or the neighbours of a service. */
import type { Graph, GraphEdge, GraphNode } from '../../registry/traffic/graph.ts'
import { findingsOfEdge, findingsOfNode, worst } from './severity.ts'

/** More than these are no picture any more, and take the layout too long. */
export const MOST_DRAWN = 80

export interface Chosen {
  readonly nodes: readonly GraphNode[]
  readonly edges: readonly GraphEdge[]
  /** Services that match and are not drawn. */
  readonly left: number
}

/** `focus`: only this service and those that it calls or that call it. */
export function choose(graph: Graph, filter: string, focus: string, most = MOST_DRAWN): Chosen {
  const wanted = filter.trim().toLowerCase()
  const near = neighbours(graph, focus)
  const matching = graph.nodes.filter(({ service }) => near?.has(service) ?? true)
  const named =
    wanted === '' ? matching : withNeighbours(graph, matching, (service) => service.toLowerCase().includes(wanted))
  const drawn = named.length > most ? mostWorth(graph, named, focus, most) : named
  const names = new Set(drawn.map(({ service }) => service))
  return {
    nodes: drawn,
    edges: graph.edges.filter(({ from, to }) => names.has(from) && names.has(to)),
    left: named.length - drawn.length,
  }
}

function neighbours({ edges }: Graph, focus: string): Set<string> | undefined {
  if (focus === '') return undefined
  return new Set([focus, ...edges.flatMap(({ from, to }) => (from === focus ? [to] : to === focus ? [from] : []))])
}

function withNeighbours(
  { edges }: Graph,
  nodes: readonly GraphNode[],
  isNamed: (service: string) => boolean,
): readonly GraphNode[] {
  const names = new Set(nodes.filter(({ service }) => isNamed(service)).map(({ service }) => service))
  const all = new Set(names)
  for (const { from, to } of edges) {
    if (names.has(from)) all.add(to)
    if (names.has(to)) all.add(from)
  }
  return nodes.filter(({ service }) => all.has(service))
}

/** Those in trouble first, then the busiest. */
function mostWorth(graph: Graph, nodes: readonly GraphNode[], focus: string, most: number): readonly GraphNode[] {
  const worth = new Map<string, number>(
    nodes.map((node) => [node.service, trouble(worst(findingsOfNode(node, graph.at)))]),
  )
  for (const edge of graph.edges) {
    const more = (edge.perSecond ?? 0) + trouble(worst(findingsOfEdge(edge)))
    worth.set(edge.from, (worth.get(edge.from) ?? 0) + more)
    worth.set(edge.to, (worth.get(edge.to) ?? 0) + more)
  }
  worth.set(focus, Number.POSITIVE_INFINITY)
  const sorted = [...nodes].sort((a, b) => worth.get(b.service)! - worth.get(a.service)!)
  const kept = new Set(sorted.slice(0, most))
  return nodes.filter((node) => kept.has(node))
}

function trouble(severity: ReturnType<typeof worst>): number {
  return { bad: 1e9, warn: 1e6, unheard: 1e3, good: 0 }[severity]
}
