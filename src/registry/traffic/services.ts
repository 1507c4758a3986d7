/** How each service answered the calls of all its callers together, in a window. */
import type { Asked } from './ask.ts'
import { Coverage, type CoverageSummary } from './coverage.ts'
import { type Graph, type GraphNode, versionsOf } from './graph.ts'
import { rounded } from './rounded.ts'
import { type Figures, Sums } from './sums.ts'

export interface ServiceFigures extends Figures {
  readonly service: string
  /** Now, as the graph has them; `null` in the past. */
  readonly instances: number | null
  readonly healthy: number | null
  readonly frozen: boolean | null
  readonly panic: boolean
  readonly inFlight: number | null
  /** The share of calls that each version answered. */
  readonly versions: Readonly<Record<string, number>> | null
  readonly callers: readonly string[]
  readonly called: readonly string[]
  /** The share of its callers' reports that was not heard. */
  readonly gap: number
}

export interface ServicesAnswer {
  readonly at: number
  readonly windowMs: number
  readonly coverage: CoverageSummary
  readonly services: readonly ServiceFigures[]
}

/** `graph`: of the same answers. `windowMs`: as it was asked for. */
export function servicesOf({ answers }: Asked, graph: Graph, windowMs: number): ServicesAnswer {
  const coverage = new Coverage(answers)
  const span = { from: windowMs - graph.windowMs, to: windowMs }
  const cells = Map.groupBy(
    answers.flatMap((one) => one.cells),
    ({ to }) => to,
  )
  const outside = graph.nodes.find((node) => node.outside === true)?.service
  const called = Map.groupBy(graph.edges, ({ from }) => from)
  const calledBy = Map.groupBy(graph.edges, ({ to }) => to)
  const services = graph.nodes
    .filter((node) => node.outside !== true)
    .map((node): ServiceFigures => {
      const served = cells.get(node.service) ?? []
      const edges = calledBy.get(node.service) ?? []
      const sums = new Sums()
      for (const cell of served) sums.add(cell)
      const reporters = new Set(edges.map(({ from }) => (from === outside ? node.service : from)))
      // Without callers, only silence everywhere says nothing.
      const gap = coverage.gap(reporters.size === 0 ? coverage.services : reporters, span)
      return {
        service: node.service,
        ...pick(node),
        ...sums.figures(graph.windowMs / 1_000, gap < 1),
        inFlight: edges.reduce<number | null>((all, one) => add(all, one.inFlight), edges.length === 0 ? null : 0),
        versions: versionsOf(served),
        callers: edges.map(({ from }) => from),
        called: (called.get(node.service) ?? []).map(({ to }) => to),
        gap: rounded(gap),
      }
    })
  const { at, windowMs: known, coverage: summary } = graph
  return { at, windowMs: known, coverage: summary, services }
}

function pick({ instances, healthy, frozen, panic }: GraphNode) {
  return { instances, healthy, frozen, panic }
}

/** Unknown if a part is. */
function add(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : a + b
}
