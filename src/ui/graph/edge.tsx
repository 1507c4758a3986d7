/** One line of the picture: as wide as its rate, in the color of its success, with its figures. */
import type { GraphEdge } from '../../registry/traffic/graph.ts'
import { latency, percent, rate } from '../format.ts'
import { lineOf } from './course.ts'
import { describeEdge } from './describe.ts'
import type { Course, Density, Point } from './layout.ts'
import { type Finding, findingsOfEdge, worst } from './severity.ts'
import { Disc, SignAt, signOf } from './signs.tsx'
import { SplitBar } from './split-bar.tsx'

const WIDTH = { least: 1.4, more: 4.6 } as const
const SLOWEST_S = 2.4
/** A thinner line would look broken. */
const LEAST_FLOWING = 2.4

interface EdgeProps {
  readonly edge: GraphEdge
  readonly course: Course
  readonly density: Density
  /** Calls per second of the busiest edge. */
  readonly busiest: number
  /** `lit`: of the service that is pointed at; `dim`: not. */
  readonly light: '' | 'lit' | 'dim'
  /** Points wander along the line. */
  readonly isFlowing: boolean
}

export function Edge({ edge, course, density, busiest, light, isFlowing }: EdgeProps) {
  const findings = findingsOfEdge(edge)
  const severity = worst(findings)
  const share = Math.min(1, (edge.perSecond ?? 0) / busiest)
  const width = WIDTH.least + WIDTH.more * Math.sqrt(share)
  const line = lineOf(course.points, edge.from === edge.to)
  const isIdle = edge.perSecond === 0
  const hasFigures = density === 'roomy' || light === 'lit'
  const sign = edge.circuit === 'open' ? 'bolt' : signOf(severity)
  return (
    <g class={`edge ${severity} ${light}${isIdle ? ' idle' : ''}`} data-edge={`${edge.from} ${edge.to}`}>
      <title>{describeEdge(edge)}</title>
      <path class="reach" d={line} />
      <path class="line" d={line} style={{ strokeWidth: `${width}px` }} marker-end={`url(#arrow-${severity})`} />
      {isFlowing && width >= LEAST_FLOWING && (
        <path class="flow" d={line} style={{ animationDuration: `${SLOWEST_S / (0.4 + Math.sqrt(share))}s` }} />
      )}
      {hasFigures && <Figures edge={edge} findings={findings} label={course.label} width={width} />}
      {sign !== undefined && <Disc sign={sign} {...discOf(course, density)} severity={severity} />}
    </g>
  )
}

/** Beside the figures, or in the middle of a line without any. */
function discOf({ label: { x, y }, points }: Course, density: Density): Point {
  if (density === 'dense') return { x, y }
  return { x: x + (points[0]!.x <= points.at(-1)!.x ? 62 : -62), y }
}

interface FiguresProps {
  readonly edge: GraphEdge
  readonly findings: readonly Finding[]
  readonly label: Point
  /** Of the line. */
  readonly width: number
}

function Figures({ edge, findings, label: { x, y }, width }: FiguresProps) {
  const { perSecond, success, p99, tls, versions } = edge
  const beneath = findings.filter(({ text }) => !text.startsWith('success'))
  return (
    <>
      <text x={x} y={y - 6 - width / 2} class="rate">
        {rate(perSecond)}
        {success !== null && success < 0.9995 && <tspan class="success"> {percent(success)}</tspan>}
      </text>
      {tls !== null && <SignAt sign={tls ? 'lock' : 'unlocked'} x={x - 64} y={y - 17 - width / 2} />}
      <text x={x} y={y + 14 + width / 2} class={beneath.length === 0 ? 'small' : 'small trouble'}>
        {beneath[0]?.text ?? `p99 ${latency(p99)}`}
        {beneath.length > 1 && ` +${beneath.length - 1}`}
      </text>
      <SplitBar shares={versions} x={x} y={y + 20 + width / 2} />
    </>
  )
}
