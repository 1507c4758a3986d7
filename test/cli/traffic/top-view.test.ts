/** The picture of `inmesh top` of a large mesh. */
import { expect, it } from 'vitest'
import { columnNamed } from '../../../src/cli/traffic/columns.ts'
import { afterKey, pictureOf, type TopState } from '../../../src/cli/traffic/top-view.ts'
import type { Graph, GraphEdge } from '../../../src/registry/traffic/graph.ts'

const SIZE = { columns: 120, rows: 30 }
const figures: Omit<GraphEdge, 'from' | 'to'> = {
  ...{ perSecond: 1, success: 1, p50: 1, p90: 1, p99: 1, calls: 60, retries: 0, hedges: 0, mirrored: 0 },
  ...{ codes: {}, inFlight: 0, tls: true, versions: null, circuit: 'closed', ejected: 0, gap: 0 },
}
const edges = Array.from({ length: 3_000 }, (_, i): GraphEdge => {
  return { ...figures, from: `service-${i % 500}`, to: `service-${Math.floor(i / 6)}` }
})
const coverage = { processes: 1, heard: 1, silent: [], notReporting: 0, registries: ['local'], unreachable: [] }
const graph: Graph = { at: 0, windowMs: 60_000, coverage, nodes: [], edges }

it('has a page of 3,000 pairs of 500 services, and each of them is reached by page keys', () => {
  let state: TopState = {
    ...{ graph, windowMs: 60_000, sort: columnNamed('rate'), isReversed: false, offset: 0, problem: undefined },
  }
  const seen: string[] = []
  for (let page = 0; page < Math.ceil(3_000 / 26); page++) {
    const lines = pictureOf(state, SIZE, (_colour, line) => line)
    expect(lines).toHaveLength(SIZE.rows)
    expect(lines.every(({ length }) => length <= SIZE.columns)).toBe(true)
    seen.push(...lines.slice(3, -1).map((line) => line.split(/ +/, 2).join(' ')))
    state = afterKey(state, 'page-down', SIZE)!
  }
  expect(new Set(seen).size).toBe(3_000)
  expect(pictureOf(state, SIZE, (_colour, line) => line).at(-1)).toMatch(/^2975-3000 of 3000 {2}q quit /)
  // All rates are equal: the order is that of the registry.
  expect(seen[0]).toBe('service-0 service-0')
})
