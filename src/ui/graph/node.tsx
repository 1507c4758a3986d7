/** One service of the picture: its instances, what it is called with, and what is wrong. */
import type { GraphNode } from '../../registry/traffic/graph.ts'
import { linkTo, type Place } from '../place.ts'
import { describeNode, instancesOf } from './describe.ts'
import { type Density, NODE, type Point } from './layout.ts'
import { findingsOfNode, worst } from './severity.ts'
import { Disc, type Sign, signOf } from './signs.tsx'

const LONGEST_NAME = { roomy: 20, dense: 19 } as const
const MOST_DOTS = 8
const INSET = 14

interface NodeProps {
  readonly node: GraphNode
  readonly middle: Point
  readonly density: Density
  readonly place: Place
  readonly at: number
  /** Calls per second: of all its callers, or, without any, its own. */
  readonly load: string
  readonly isDim: boolean
  readonly onPoint: (service: string | undefined) => void
}

export function Node({ node, middle, density, place, at, load, isDim, onPoint }: NodeProps) {
  const findings = findingsOfNode(node, at)
  const severity = worst(findings)
  const { service } = node
  const { width, height } = NODE[density]
  const [x, y] = [middle.x - width / 2, middle.y - height / 2]
  const name = shortened(service, LONGEST_NAME[density] - (severity === 'good' ? 0 : 3))
  const [first] = findings
  const sign: Sign | undefined = node.frozen ? 'frozen' : signOf(severity)
  const point = (): void => onPoint(service)
  const leave = (): void => onPoint(undefined)
  return (
    <a
      href={linkTo({ view: 'service', service }, place)}
      class={`node ${severity}${isDim ? ' dim' : ''}${node.outside ? ' outside' : ''}`}
      data-service={service}
      aria-label={describeNode(node, at)}
      onPointerEnter={point}
      onPointerLeave={leave}
      onFocus={point}
      onBlur={leave}
    >
      <title>{describeNode(node, at)}</title>
      <rect class="card" x={x} y={y} width={width} height={height} rx="9" />
      <path class="state" d={`M${x + 5} ${y + 9}v${height - 18}`} />
      <text x={x + INSET} y={y + (density === 'roomy' ? 22 : 19)} class="name">
        {name}
      </text>
      {sign !== undefined && <Disc sign={sign} x={x + width - 16} y={y + 17} severity={severity} />}
      {density === 'roomy' ? (
        <>
          <Instances node={node} x={x + INSET} y={y + 39} />
          <text x={x + INSET} y={y + 58} class="small trouble">
            {first?.text ?? load}
            {findings.length > 1 && ` +${findings.length - 1}`}
          </text>
        </>
      ) : (
        <text x={x + INSET} y={y + 36} class="small trouble">
          {first?.text ?? instancesOf(node)}
        </text>
      )}
    </a>
  )
}

/** A dot for each: full, half or empty for ready, draining and not ready. */
function Instances({ node, x, y }: { node: GraphNode; x: number; y: number }) {
  const { instances, healthy, draining, versions } = node
  const all = instances ?? 0
  const dots = all > MOST_DOTS ? 0 : all
  const names = Object.keys(versions ?? {})
  return (
    <>
      {Array.from({ length: dots }, (_, i) => {
        const kind = i < (healthy ?? 0) ? 'ready' : i < (healthy ?? 0) + (draining ?? 0) ? 'draining' : 'away'
        return <circle key={i} class={`dot ${kind}`} cx={x + 4 + i * 11} cy={y - 4} r="3.6" />
      })}
      <text x={x + (dots > 0 ? dots * 11 + 4 : 0)} y={y} class="small">
        {instancesOf(node)}
        {names.length > 1 && dots <= 4 && ` · ${shortened(names.join(' '), 10)}`}
      </text>
    </>
  )
}

function shortened(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text
}
