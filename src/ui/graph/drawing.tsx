/** The picture: services as links, the calls between them as arrows with their figures. */
import { useMemo, useState } from 'preact/hooks'
import type { GraphEdge } from '../../registry/traffic/graph.ts'
import { rate } from '../format.ts'
import type { Place } from '../place.ts'
import type { Chosen } from './choose.ts'
import { Edge } from './edge.tsx'
import { edgeKey, layoutOf } from './layout.ts'
import { Legend } from './legend.tsx'
import { Node } from './node.tsx'
import type { Severity } from './severity.ts'
import { ViewPort } from './view-port.tsx'

const SEVERITIES: readonly Severity[] = ['good', 'warn', 'bad', 'unheard']

export function Drawing(props: { chosen: Chosen; place: Place; at: number }) {
  return props.chosen.nodes.length === 0 ? <p class="hint">No service matches.</p> : <Picture {...props} />
}

function Picture({ chosen, place, at }: { chosen: Chosen; place: Place; at: number }) {
  const { nodes, edges } = chosen
  const [pointed, setPointed] = useState<string>()
  const names = nodes.map(({ service }) => service)
  // Figures change every 5 s, the shape seldom: services stay where they are.
  const shape = `${names.join(' ')}\n${edges.map(({ from, to }) => `${from}>${to}`).join(' ')}`
  const layout = useMemo(() => layoutOf(names, edges), [shape])
  const busiest = Math.max(1, ...edges.map(({ perSecond }) => perSecond ?? 0))
  const loads = useMemo(() => loadsOf(edges), [edges])
  const isNear = (service: string): boolean =>
    pointed === service ||
    edges.some(({ from, to }) => (from === pointed && to === service) || (to === pointed && from === service))
  const lightOf = ({ from, to }: GraphEdge): '' | 'lit' | 'dim' =>
    pointed === undefined ? '' : from === pointed || to === pointed ? 'lit' : 'dim'
  // Lines that are lit lie above the others.
  const sorted = pointed === undefined ? edges : [...edges].sort((a, b) => order(lightOf(a)) - order(lightOf(b)))
  return (
    <figure class="graph">
      <ViewPort layout={layout}>
        <defs>
          {SEVERITIES.map((severity) => (
            <Arrow key={severity} severity={severity} />
          ))}
        </defs>
        {sorted.map((edge) => {
          const key = edgeKey(edge.from, edge.to)
          const course = layout.edges.get(key)
          if (course === undefined) return null
          const light = lightOf(edge)
          const isFlowing = place.at === undefined && layout.density === 'roomy'
          return <Edge key={key} {...{ edge, course, density: layout.density, busiest, light, isFlowing }} />
        })}
        {nodes.map((node) => {
          const middle = layout.nodes.get(node.service)
          if (middle === undefined) return null
          return (
            <Node
              key={node.service}
              {...{ node, middle, density: layout.density, place, at, onPoint: setPointed }}
              load={loads.get(node.service) ?? ''}
              isDim={pointed !== undefined && !isNear(node.service)}
            />
          )
        })}
      </ViewPort>
      <Legend />
    </figure>
  )
}

function Arrow({ severity }: { severity: Severity }) {
  const size = { markerWidth: '13', markerHeight: '13', markerUnits: 'userSpaceOnUse' }
  return (
    <marker id={`arrow-${severity}`} viewBox="0 0 8 8" refX="7.4" refY="4" {...size} orient="auto">
      <path d="M0 .6 8 4 0 7.4 1.8 4Z" class={`arrow ${severity}`} />
    </marker>
  )
}

/** Calls per second to each service; of one that no service calls, those that it makes. */
function loadsOf(edges: readonly GraphEdge[]): Map<string, string> {
  const [called, calls] = [new Map<string, number>(), new Map<string, number>()]
  for (const { from, to, perSecond } of edges) {
    if (perSecond === null) continue
    called.set(to, (called.get(to) ?? 0) + perSecond)
    calls.set(from, (calls.get(from) ?? 0) + perSecond)
  }
  const words = [calls, called].flatMap((sums) =>
    [...sums].map(([service, sum]) => [service, `${sums === called ? 'called' : 'calls'} ${rate(sum)}`] as const),
  )
  return new Map(words)
}

function order(light: '' | 'lit' | 'dim'): number {
  return light === 'lit' ? 1 : 0
}
