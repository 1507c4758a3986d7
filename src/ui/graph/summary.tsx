/** The mesh in one line: how much it does, how well, and what needs a look first. */
import type { Graph } from '../../registry/traffic/graph.ts'
import { percent, rate } from '../format.ts'
import { linkTo, type Place } from '../place.ts'
import { Coverage } from './coverage-note.tsx'
import { findingsOfEdge, findingsOfNode, SERIOUS, type Severity } from './severity.ts'
import { type Sign, SignIcon, signOf } from './signs.tsx'

const MOST_LISTED = 4

interface Trouble {
  readonly severity: Severity
  readonly text: string
  /** Whose view says more. */
  readonly service: string
}

export function Summary({ graph, place }: { graph: Graph; place: Place }) {
  const { nodes, edges } = graph
  const known = edges.filter(({ perSecond }) => perSecond !== null)
  const sum = known.reduce((all, { perSecond }) => all + perSecond!, 0)
  const troubles = troublesOf(graph)
  const counted = edges.filter(({ success, perSecond }) => success !== null && perSecond !== null)
  const weight = counted.reduce((all, { perSecond }) => all + perSecond!, 0)
  const good = counted.reduce((all, { perSecond, success }) => all + perSecond! * success!, 0)
  const figures = [
    ['services', String(nodes.filter(({ outside }) => outside !== true).length)],
    ['calls', rate(known.length === 0 ? null : sum)],
    ['success', percent(weight === 0 ? null : good / weight)],
  ] as const
  return (
    <section class="summary" aria-label="Summary">
      <dl>
        {figures.map(([title, value]) => (
          <div key={title}>
            <dt>{title}</dt>
            <dd>{value}</dd>
          </div>
        ))}
        <Coverage graph={graph} />
      </dl>
      <ul class="attention" aria-label="What needs attention">
        {troubles.slice(0, MOST_LISTED).map(({ severity, text, service }) => (
          <li key={text} class={severity}>
            <a href={linkTo({ view: 'service', service, filter: '' }, place)}>
              <SignIcon sign={signFor(text, severity)} severity={severity} /> {text}
            </a>
          </li>
        ))}
        {troubles.length > MOST_LISTED && <li class="hint">and {troubles.length - MOST_LISTED} more</li>}
        {troubles.length === 0 && (
          <li>
            <span class="calm">{graph.windowMs === 0 ? 'Nothing known of this time' : 'Nothing in trouble'}</span>
          </li>
        )}
      </ul>
    </section>
  )
}

/** The worst first. */
function troublesOf({ nodes, edges, at }: Graph): Trouble[] {
  const ofEdges = edges.flatMap((edge): Trouble[] => {
    const [first] = findingsOfEdge(edge)
    if (first === undefined || first.severity === 'unheard') return []
    return [{ severity: first.severity, text: `${edge.from} → ${edge.to}: ${first.text}`, service: edge.to }]
  })
  const ofNodes = nodes.flatMap((node) =>
    findingsOfNode(node, at)
      .filter(({ severity }) => severity !== 'good')
      .map(({ severity, text }) => ({ severity, text: `${node.service}: ${text}`, service: node.service })),
  )
  return [...ofNodes, ...ofEdges].sort((a, b) => SERIOUS.indexOf(a.severity) - SERIOUS.indexOf(b.severity))
}

function signFor(text: string, severity: Severity): Sign {
  if (text.endsWith('circuit open')) return 'bolt'
  return text.endsWith('leases frozen') ? 'frozen' : (signOf(severity) ?? 'warning')
}
