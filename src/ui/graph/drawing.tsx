/** The picture: services as links, the calls between them as arrows with their figures. */
import { useMemo } from 'preact/hooks'
import type { GraphEdge, GraphNode } from '../../registry/traffic/graph.ts'
import { latency, percent, rate, shares, UNKNOWN } from '../format.ts'
import { linkTo, type Place } from '../place.ts'
import type { Chosen } from './choose.ts'
import { edgeKey, type Layout, layoutOf, NODE, type Point } from './layout.ts'
import { findingsOfEdge, findingsOfNode, worst } from './severity.ts'

const LONGEST_NAME = 20
const LABEL = { width: 116, height: 34 } as const
/** A padlock: mutually authenticated. */
const LOCK = 'M1 5.5h8v6H1z M2.5 5.5V3.5a2.5 2.5 0 0 1 5 0v2'
const MARKS = { bad: '✖', warn: '▲', unheard: '?', good: '' } as const

export function Drawing(props: { chosen: Chosen; place: Place; at: number }) {
  return props.chosen.nodes.length === 0 ? <p class="hint">No service matches.</p> : <Picture {...props} />
}

function Picture({ chosen, place, at }: { chosen: Chosen; place: Place; at: number }) {
  const { nodes, edges } = chosen
  const names = nodes.map(({ service }) => service)
  // Figures change every 5 s, the shape seldom: services stay where they are.
  const shape = `${names.join(' ')}\n${edges.map(({ from, to }) => `${from}>${to}`).join(' ')}`
  const layout = useMemo(() => layoutOf(names, edges), [shape])
  const busiest = Math.max(1, ...edges.map(({ perSecond }) => perSecond ?? 0))
  return (
    <section class="picture" aria-label="Graph of services; the table below has the same figures">
      <svg viewBox={`0 0 ${layout.width} ${layout.height}`} width={layout.width} height={layout.height}>
        <title>Services and their calls</title>
        <defs>
          <marker
            id="arrow"
            viewBox="0 0 8 8"
            refX="7"
            refY="4"
            markerWidth="10"
            markerHeight="10"
            markerUnits="userSpaceOnUse"
            orient="auto"
          >
            <path d="M0 0 8 4 0 8Z" class="arrow" />
          </marker>
        </defs>
        {edges.map((edge) => (
          <Edge key={edgeKey(edge.from, edge.to)} edge={edge} layout={layout} busiest={busiest} />
        ))}
        {nodes.map((node) => (
          <Node key={node.service} node={node} layout={layout} place={place} at={at} />
        ))}
      </svg>
    </section>
  )
}

function Edge({ edge, layout, busiest }: { edge: GraphEdge; layout: Layout; busiest: number }) {
  const points = layout.edges.get(edgeKey(edge.from, edge.to))
  if (points === undefined) return null
  const findings = findingsOfEdge(edge)
  const severity = worst(findings)
  const middle = points[Math.floor(points.length / 2)]!
  const width = 1.2 + 3 * Math.sqrt((edge.perSecond ?? 0) / busiest)
  const isIdle = edge.perSecond === 0 ? ' idle' : ''
  return (
    <g class={`edge ${severity}${isIdle}`} data-edge={`${edge.from} ${edge.to}`}>
      <title>{describeEdge(edge)}</title>
      <path d={pathOf(points)} style={{ strokeWidth: `${width}px` }} marker-end="url(#arrow)" />
      <rect x={middle.x - LABEL.width / 2} y={middle.y - 20} width={LABEL.width} height={LABEL.height} rx="4" />
      {edge.tls === true && <path class="lock" d={LOCK} transform={`translate(${middle.x - 56} ${middle.y - 16})`} />}
      <text x={middle.x} y={middle.y - 5}>
        {rate(edge.perSecond)}
        {edge.success !== null && edge.success < 1 && ` ${percent(edge.success)}`}
      </text>
      <text x={middle.x} y={middle.y + 9} class="small">
        {findings.length > 0 ? `${MARKS[severity]} ${findings[0]!.text}` : `p99 ${latency(edge.p99)}`}
      </text>
    </g>
  )
}

function Node({ node, layout, place, at }: { node: GraphNode; layout: Layout; place: Place; at: number }) {
  const middle = layout.nodes.get(node.service)
  if (middle === undefined) return null
  const findings = findingsOfNode(node, at)
  const severity = worst(findings)
  const { service } = node
  const name = service.length > LONGEST_NAME ? `${service.slice(0, LONGEST_NAME - 1)}…` : service
  const [x, y] = [middle.x - NODE.width / 2, middle.y - NODE.height / 2]
  return (
    <a
      href={linkTo({ view: 'service', service }, place)}
      class={`node ${severity}`}
      data-service={service}
      aria-label={describeNode(node, at)}
    >
      <title>{describeNode(node, at)}</title>
      <rect x={x} y={y} width={NODE.width} height={NODE.height} rx="8" />
      <text x={middle.x} y={y + 22} class="name">
        {name}
      </text>
      <text x={middle.x} y={y + 40} class="small">
        {findings.length > 0 ? `${MARKS[severity]} ${findings[0]!.text}` : instancesOf(node)}
      </text>
    </a>
  )
}

function instancesOf({ instances, healthy, versions, outside }: GraphNode): string {
  if (outside) return 'not of the mesh'
  if (instances === null || healthy === null) return 'in the past'
  if (instances === 0) return 'calls only'
  const all = Object.keys(versions ?? {})
  return `${healthy}/${instances} ready${all.length > 1 ? ` · ${all.join(' ')}` : ''}`
}

export function describeNode(node: GraphNode, at: number): string {
  const findings = findingsOfNode(node, at).map(({ text }) => text)
  return [node.service, instancesOf(node), ...findings].join(', ')
}

export function describeEdge(edge: GraphEdge): string {
  const { from, to, perSecond, success, p50, p99, tls, versions, retries, inFlight } = edge
  return [
    `${from} calls ${to}: ${perSecond === null ? 'not heard' : rate(perSecond)}`,
    `success ${percent(success)}, p50 ${latency(p50)}, p99 ${latency(p99)}`,
    `retries ${retries ?? UNKNOWN}, in flight ${inFlight ?? UNKNOWN}`,
    `mTLS ${tls === null ? UNKNOWN : tls ? 'yes' : 'no'}, versions ${shares(versions)}`,
    ...findingsOfEdge(edge).map(({ text }) => text),
  ].join('\n')
}

/** A curve through the middles of the points. */
function pathOf(points: readonly Point[]): string {
  const [first, ...rest] = points
  if (rest.length < 2) return `M${first!.x} ${first!.y}${rest.map(({ x, y }) => `L${x} ${y}`).join('')}`
  const curves = rest.slice(0, -1).map(({ x, y }, i) => {
    const next = rest[i + 1]!
    const isLast = i === rest.length - 2
    return `Q${x} ${y} ${isLast ? next.x : (x + next.x) / 2} ${isLast ? next.y : (y + next.y) / 2}`
  })
  return `M${first!.x} ${first!.y}${curves.join('')}`
}
