/** Which part of a large mesh is drawn: what a filter names, or the neighbours of a service. */
import type { Graph, GraphEdge, GraphNode } from '../../registry/traffic/graph.ts'
import { edgeKey } from './layout.ts'
import { findingsOfEdge, findingsOfNode, worst } from './severity.ts'

/** More than these are no picture any more, and take the browser too long. */
export const MOST_DRAWN = 80
export const MOST_LINES = 400

export interface Chosen {
  readonly nodes: readonly GraphNode[]
  readonly edges: readonly GraphEdge[]
  /** Services that match and are not drawn. */
  readonly left: number
  /** Edges between drawn services that are not drawn. */
  readonly leftEdges: number
}

/** By this what is drawn is worth more, so that it stays while rates waver. */
const STAYS = 2
const NONE: ReadonlySet<string> = new Set()

/**
 * `focus`: only this service and those that it calls or that call it. `before`: what
 * {@link drawnOf} says is drawn, which makes room for others only if these are worth much more.
 */
export function choose(graph: Graph, filter: string, focus: string, before = NONE): Chosen {
  const wanted = filter.trim().toLowerCase()
  const near = neighbours(graph, focus)
  const matching = graph.nodes.filter(({ service }) => near?.has(service) ?? true)
  const named =
    wanted === '' ? matching : withNeighbours(graph, matching, (service) => service.toLowerCase().includes(wanted))
  const drawn = named.length > MOST_DRAWN ? mostWorth(graph, named, focus, before) : named
  const names = new Set(drawn.map(({ service }) => service))
  const between = graph.edges.filter(({ from, to }) => names.has(from) && names.has(to))
  const edges = between.length > MOST_LINES ? mostWorthEdges(between, before) : between
  return { nodes: drawn, edges, left: named.length - drawn.length, leftEdges: between.length - edges.length }
}

/** Names of services, and keys of edges. */
export function drawnOf({ nodes, edges }: Chosen): ReadonlySet<string> {
  return new Set([...nodes.map(({ service }) => service), ...edges.map(({ from, to }) => edgeKey(from, to))])
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
function mostWorth(
  graph: Graph,
  nodes: readonly GraphNode[],
  focus: string,
  before: ReadonlySet<string>,
): readonly GraphNode[] {
  const worth = new Map<string, number>(
    nodes.map((node) => [node.service, trouble(worst(findingsOfNode(node, graph.at)))]),
  )
  for (const edge of graph.edges) {
    const more = worthOf(edge)
    worth.set(edge.from, (worth.get(edge.from) ?? 0) + more)
    worth.set(edge.to, (worth.get(edge.to) ?? 0) + more)
  }
  for (const [service, value] of worth) if (before.has(service)) worth.set(service, value * STAYS)
  worth.set(focus, Number.POSITIVE_INFINITY)
  const sorted = [...nodes].sort((a, b) => worth.get(b.service)! - worth.get(a.service)!)
  const kept = new Set(sorted.slice(0, MOST_DRAWN))
  return nodes.filter((node) => kept.has(node))
}

function mostWorthEdges(edges: readonly GraphEdge[], before: ReadonlySet<string>): readonly GraphEdge[] {
  const worth = new Map(
    edges.map((edge) => [edge, worthOf(edge) * (before.has(edgeKey(edge.from, edge.to)) ? STAYS : 1)]),
  )
  const kept = new Set([...edges].sort((a, b) => worth.get(b)! - worth.get(a)!).slice(0, MOST_LINES))
  return edges.filter((edge) => kept.has(edge))
}

function worthOf(edge: GraphEdge): number {
  return (edge.perSecond ?? 0) + trouble(worst(findingsOfEdge(edge)))
}

function trouble(severity: ReturnType<typeof worst>): number {
  return { bad: 1e9, warn: 1e6, unheard: 1e3, good: 0 }[severity]
}
