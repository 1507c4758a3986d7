/** Which services of a mesh are drawn, up to 500 of them, and where. */
import { describe, expect, it } from 'vitest'
import type { Graph, GraphEdge, GraphNode } from '../../src/registry/traffic/graph.ts'
import { choose, drawnOf, MOST_DRAWN, MOST_LINES } from '../../src/ui/graph/choose.ts'
import { framework, MOST_LAID } from '../../src/ui/graph/framework.ts'
import { edgeKey, layoutOf, NODE } from '../../src/ui/graph/layout.ts'

const NODE_OF = {
  ...{ instances: 1, healthy: 1, draining: 0, frozen: false, versions: {}, zones: {}, panic: false },
  ...{ processes: 1, gap: 0, certificateEndsAt: null, policyVersion: null },
} as const

function edge(from: string, to: string, more: Partial<GraphEdge> = {}): GraphEdge {
  return {
    ...{ from, to, perSecond: 1, success: 1, p50: 1, p90: 1, p99: 1, calls: 60, retries: 0, hedges: 0, mirrored: 0 },
    ...{ codes: {}, inFlight: 0, tls: true, versions: null, circuit: 'closed' as const, ejected: 0, gap: 0 },
    ...more,
  }
}

function graph(services: readonly string[], edges: readonly GraphEdge[], more: Partial<GraphNode> = {}): Graph {
  const coverage = { processes: 0, heard: 0, silent: [], notReporting: 0, registries: ['local'], unreachable: [] }
  const nodes = services.map((service): GraphNode => ({ ...NODE_OF, service, ...more }))
  return { at: 0, windowMs: 60_000, coverage, nodes, edges }
}

/** Each of 60 services calls each other one, and itself. */
const CROWD = Array.from({ length: 60 }, (_, i) => `crowd-${i}`)
const CROWDED = graph(
  CROWD,
  CROWD.flatMap((from, i) => CROWD.map((to, j) => edge(from, to, { perSecond: i * 100 + j }))),
)

/** Each service calls three others further on. */
const MANY = Array.from({ length: 500 }, (_, i) => `service-${i}`)
const CALLS = MANY.flatMap((from, i) =>
  [1, 7, 31].flatMap((step) => (MANY[i + step] === undefined ? [] : [edge(from, MANY[i + step]!, { perSecond: i })])),
)
const LARGE = graph(MANY, CALLS)

function namesOf({ nodes }: { readonly nodes: readonly GraphNode[] }): string[] {
  return nodes.map(({ service }) => service)
}

describe('what is drawn', () => {
  it('is a small mesh, whole', () => {
    const small = graph(['a', 'b', 'c'], [edge('a', 'b')])
    expect(choose(small, '', '')).toEqual({ nodes: small.nodes, edges: small.edges, left: 0, leftEdges: 0 })
  })

  it('is what a filter names, with its callers and what it calls', () => {
    const mesh = graph(['web', 'inventory', 'prices', 'other'], [edge('web', 'inventory'), edge('inventory', 'prices')])
    expect(namesOf(choose(mesh, 'INVEN', ''))).toEqual(['web', 'inventory', 'prices'])
    expect(choose(mesh, 'nothing', '').nodes).toEqual([])
  })

  it('is a service and its neighbours, without calls beyond them', () => {
    const { nodes, edges } = choose(LARGE, '', 'service-100')
    expect(namesOf({ nodes }).sort()).toEqual([69, 93, 99, 100, 101, 107, 131].map((i) => `service-${i}`).sort())
    expect(edges.some(({ from, to }) => from === 'service-100' || to === 'service-100')).toBe(true)
  })

  it('of 500 services are those in trouble, then the busiest, and it says how many are left', () => {
    const open = edge('service-3', 'service-4', { circuit: 'open' })
    const { nodes, left } = choose(graph(MANY, [...CALLS, open]), '', '')
    expect([nodes.length, left]).toEqual([MOST_DRAWN, 500 - MOST_DRAWN])
    const names = namesOf({ nodes })
    expect(names).toEqual(expect.arrayContaining(['service-3', 'service-4', 'service-450']))
    expect(names).not.toContain('service-20')
  })
})

describe('what is drawn of many', () => {
  it('stays while its rates waver, and makes room for trouble', () => {
    const drawn = new Set(namesOf(choose(LARGE, '', '')))
    const wavering = graph(
      MANY,
      CALLS.map((one, i) => ({ ...one, perSecond: one.perSecond! * (i % 2 === 0 ? 0.8 : 1.2) })),
    )
    expect(new Set(namesOf(choose(wavering, '', '')))).not.toEqual(drawn)
    expect(new Set(namesOf(choose(wavering, '', '', drawn)))).toEqual(drawn)
    const trouble = graph(MANY, [...CALLS, edge('service-3', 'service-4', { circuit: 'open' })])
    expect(namesOf(choose(trouble, '', '', drawn))).toContain('service-4')
  })
})

describe('the lines of a crowd', () => {
  const open = edge('crowd-0', 'crowd-1', { perSecond: 0, circuit: 'open' })
  const crowd = graph(CROWD, [...CROWDED.edges.filter(({ from, to }) => from !== open.from || to !== open.to), open])

  it('are those in trouble, then the busiest, and it says how many are left', () => {
    const { edges, left, leftEdges } = choose(crowd, '', '')
    expect([edges.length, left, leftEdges]).toEqual([MOST_LINES, 0, 3_600 - MOST_LINES])
    expect(edges).toContain(open)
    expect(edges.some(({ from, to }) => from === 'crowd-59' && to === 'crowd-59')).toBe(true)
    expect(edges.some(({ from, to }) => from === 'crowd-1' && to === 'crowd-1')).toBe(false)
  })

  it('stay while their rates waver', () => {
    const wavering = graph(
      CROWD,
      crowd.edges.map((one, i) => ({ ...one, perSecond: one.perSecond! * (i % 2 === 0 ? 0.9 : 1.1) })),
    )
    const chosen = choose(crowd, '', '')
    expect(drawnOf(choose(wavering, '', ''))).not.toEqual(drawnOf(chosen))
    expect(drawnOf(choose(wavering, '', '', drawnOf(chosen)))).toEqual(drawnOf(chosen))
  })
})

describe('the edges that place services', () => {
  it('are all of a few', () => {
    const few = CROWDED.edges.slice(0, MOST_LAID)
    expect(framework(few)).toEqual(few)
  })

  it('are bounded of many, and hold together what the edges hold together', () => {
    const laid = framework(CROWDED.edges.filter(({ from, to }) => from !== to))
    expect(laid.length).toBe(MOST_LAID)
    expect(new Set(laid).size).toBe(MOST_LAID)
    const reached = new Set(['crowd-0'])
    for (const service of reached) {
      for (const { from, to } of laid) {
        if (from === service) reached.add(to)
        if (to === service) reached.add(from)
      }
    }
    expect([...reached].sort()).toEqual([...CROWD].sort())
  })
})

describe('the layout', () => {
  it('has a course for each line of a crowd: those that do not place services are straight', () => {
    const { edges } = choose(CROWDED, '', '')
    const { nodes, edges: courses } = layoutOf(CROWD, edges)
    expect([nodes.size, courses.size]).toEqual([60, MOST_LINES])
    const ends = edges.map(({ from, to }) => courses.get(edgeKey(from, to))!.points)
    expect(ends.every((points) => points.length >= 2)).toBe(true)
    expect(ends.filter((points) => points.length === 2).length).toBeGreaterThan(MOST_LINES - 2 * MOST_LAID)
    expect(ends.flat().every(({ x, y }) => Number.isFinite(x) && Number.isFinite(y))).toBe(true)
  })

  it('has a place for each service, apart from the others, and a course for each call', () => {
    const { nodes, edges } = choose(LARGE, '', '')
    const layout = layoutOf(namesOf({ nodes }), edges)
    const places = namesOf({ nodes }).map((service) => layout.nodes.get(service)!)
    const { width, height } = NODE[layout.density]
    for (const [i, one] of places.entries()) {
      for (const other of places.slice(i + 1)) {
        const isApart = Math.abs(one.x - other.x) >= width || Math.abs(one.y - other.y) >= height
        expect(isApart).toBe(true)
      }
    }
    for (const { from, to } of edges) expect(layout.edges.get(edgeKey(from, to))!.points.length).toBeGreaterThan(1)
  })

  it('of few services is roomy: each line is straight below its figures, and no two begin in one place', () => {
    const edges = [edge('a', 'b'), edge('a', 'c'), edge('b', 'd'), edge('c', 'd'), edge('d', 'a')]
    const layout = layoutOf(['a', 'b', 'c', 'd'], edges)
    expect(layout.density).toBe('roomy')
    const courses = [...layout.edges.values()]
    for (const { points, label } of courses) {
      const level = points.filter(({ y }) => y === label.y).map(({ x }) => x)
      expect(Math.min(...level)).toBeLessThan(label.x)
      expect(Math.max(...level)).toBeGreaterThan(label.x)
    }
    const ends = courses.flatMap(({ points }) => [points[0]!, points.at(-1)!].map(({ x, y }) => `${x} ${y}`))
    expect(new Set(ends).size).toBe(2 * edges.length)
    for (const { from, to } of edges) {
      const { points } = layout.edges.get(edgeKey(from, to))!
      const [start, end] = [layout.nodes.get(from)!, layout.nodes.get(to)!]
      expect(Math.abs(points[0]!.x - start.x)).toBe(NODE.roomy.width / 2)
      expect(Math.abs(points.at(-1)!.x - end.x)).toBe(NODE.roomy.width / 2)
    }
  })

  it('of 40 services is dense', () => {
    expect(layoutOf(MANY.slice(0, 40), [edge('service-1', 'service-2')]).density).toBe('dense')
  })

  it('bears services that call themselves, each other, or none', () => {
    const layout = layoutOf(['a', 'b', 'c'], [edge('a', 'a'), edge('a', 'b'), edge('b', 'a')])
    expect(layout.nodes.size).toBe(3)
    expect(Number.isFinite(layout.width) && Number.isFinite(layout.height)).toBe(true)
  })
})
