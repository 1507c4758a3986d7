/**
 * Draws a simulation: p50 and p99, failed calls, and the attempts that servers with a fault got,
 * over time. Colours follow the reader's scheme, dark or light; fonts are the reader's.
 */
import { type Axis, linearAxis, logarithmicAxis } from './axis.ts'
import { faultyOf, type Scenario } from './scenario.ts'
import type { Simulation } from './simulate.ts'
import { element, type Markup } from './svg.ts'
import type { Interval } from './timeline.ts'

const WIDTH = 800
const LEFT = 76
const RIGHT = 24
const TOP = 78
const GAP = 44
const LEGEND = 22
/** A wider range is drawn on a logarithmic axis, or the median would lie on the ground. */
const WIDEST_LINEAR = 30

const STYLE = `
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.quiet { fill: #59636e }
.ground { fill: #ffffff }
.grid { stroke: #d1d9e0 }
.fault { fill: #59636e; opacity: 0.16 }
.line { fill: none; stroke-width: 2 }
.fair { fill: none; stroke: #59636e; stroke-dasharray: 2 3 }
.p50 { stroke: #0969da; stroke-dasharray: 7 3 }
.p99, .share { stroke: #bc4c00 }
.failed { fill: #cf222e }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.quiet, .fault { fill: #9198a1 }
.ground { fill: #0d1117 }
.grid { stroke: #3d444d }
.fair { stroke: #9198a1 }
.p50 { stroke: #4493f8 }
.p99, .share { stroke: #f0883e }
.failed { fill: #ff7b72 }
}
`

interface Panel {
  readonly title: string
  readonly height: number
  readonly axis: Axis
  readonly unit: (tick: number) => string
  readonly legend: readonly (readonly [name: string, className: string])[]
  /** What is in it; `y` is the height of a value. */
  readonly draw: (y: (value: number) => number) => readonly Markup[]
}

/** `about`: a line under the title, such as what was simulated. */
export function picture(scenario: Scenario, simulation: Simulation, about: string): string {
  const { durationMs } = scenario
  const { rows } = simulation
  const x = (ms: number): number => LEFT + ((WIDTH - LEFT - RIGHT) * ms) / durationMs
  const panels = [latencyPanel(rows, x), failedPanel(rows, x)]
  const faulty = faultyOf(scenario)
  if (faulty.length > 0) panels.push(faultyPanel(rows, x, faulty.length, scenario.servers))
  let top = TOP
  const drawn = panels.map((panel) => {
    const group = drawPanel(panel, top, x, scenario)
    top += LEGEND + panel.height + GAP
    return group
  })
  const height = top + 10
  const title = `${scenario.service}: latency and failed calls`
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `0 0 ${WIDTH} ${height}`,
      width: WIDTH,
      height,
      role: 'img',
      'aria-labelledby': 'title about',
    },
    element('title', { id: 'title' }, title),
    element('desc', { id: 'about' }, about),
    element('style', {}, STYLE),
    element('rect', { class: 'ground', width: WIDTH, height }),
    element('text', { class: 'title', x: LEFT, y: 30 }, title),
    ...lines(about).map((line, i) => element('text', { class: 'quiet', x: LEFT, y: 50 + 16 * i }, line)),
    ...drawn,
    element('text', { class: 'quiet', x: WIDTH - RIGHT, y: height - 14, 'text-anchor': 'end' }, 'seconds'),
  ).markup
}

/** The line in two, if it is long; the rest of a longer one is in `desc`. */
function lines(about: string): readonly string[] {
  const most = 110
  if (about.length <= most) return [about]
  const end = about.lastIndexOf('; ', most)
  const first = end > 0 ? about.slice(0, end + 1) : about.slice(0, most)
  const rest = about.slice(first.length).trim()
  return [first, rest.length <= most ? rest : `${rest.slice(0, most - 1)}…`]
}

function drawPanel(panel: Panel, top: number, x: (ms: number) => number, { faults, durationMs }: Scenario): Markup {
  const { title, height, axis, unit, legend } = panel
  const begin = top + LEGEND
  const y = (value: number): number => begin + height * (1 - axis.place(value))
  const bands = faults.map(({ fromMs, untilMs }) => {
    const left = x(fromMs)
    return element('rect', {
      ...{ class: 'fault', x: left, y: begin, height },
      width: Math.max(1, x(Math.min(untilMs, durationMs)) - left),
    })
  })
  const across = axis.ticks.flatMap((tick) => [
    element('line', { class: 'grid', x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
    element('text', { class: 'quiet', x: LEFT - 8, y: y(tick) + 4, 'text-anchor': 'end' }, unit(tick)),
  ])
  const time = linearAxis(durationMs / 1_000).ticks.filter((tick) => tick * 1_000 <= durationMs)
  const below = time.map((tick) =>
    element(
      'text',
      { class: 'quiet', x: x(tick * 1_000), y: begin + height + 16, 'text-anchor': 'middle' },
      String(round(tick)),
    ),
  )
  let right = WIDTH - RIGHT
  const names = legend.toReversed().flatMap(([name, className]) => {
    right -= 7 * name.length + 34
    const mark =
      className === 'failed'
        ? element('rect', { class: className, x: right, y: top, width: 20, height: 8 })
        : element('line', { class: `line ${className}`, x1: right, x2: right + 20, y1: top + 4, y2: top + 4 })
    return [mark, element('text', { x: right + 26, y: top + 9 }, name)]
  })
  return element(
    'g',
    {},
    element('text', { x: LEFT, y: top + 9 }, title),
    ...names,
    ...bands,
    ...across,
    ...below,
    ...panel.draw(y),
  )
}

function latencyPanel(rows: readonly Interval[], x: (ms: number) => number): Panel {
  const values = rows.flatMap(({ p50Ms, p99Ms }) => [p50Ms, p99Ms]).filter((value) => value !== null)
  const [smallest, largest] = [Math.min(...values), Math.max(...values)]
  const wide = values.length > 0 && largest / smallest > WIDEST_LINEAR
  return {
    title: wide ? 'latency of good calls (logarithmic)' : 'latency of good calls',
    height: 220,
    axis: wide ? logarithmicAxis(smallest, largest) : linearAxis(values.length > 0 ? largest : 1),
    unit: (tick) => (tick >= 1_000 ? `${round(tick / 1_000)} s` : `${round(tick)} ms`),
    legend: [
      ['p50', 'p50'],
      ['p99', 'p99'],
    ],
    draw: (y) => [steps(rows, x, y, 'p50', ({ p50Ms }) => p50Ms), steps(rows, x, y, 'p99', ({ p99Ms }) => p99Ms)],
  }
}

function failedPanel(rows: readonly Interval[], x: (ms: number) => number): Panel {
  const shares = rows.map(({ failed, calls }) => percent(failed, calls) ?? 0)
  const none = shares.every((share) => share === 0)
  return {
    title: none ? 'failed calls: none' : 'failed calls',
    height: 90,
    axis: linearAxis(none ? 1 : Math.max(...shares)),
    unit: (tick) => `${round(tick)} %`,
    legend: [['failed', 'failed']],
    draw: (y) =>
      rows.flatMap(({ fromMs, untilMs }, i) =>
        shares[i] === 0
          ? []
          : [
              element('rect', {
                ...{ class: 'failed', x: x(fromMs) + 0.5, y: y(shares[i]!) },
                ...{ width: Math.max(1, x(untilMs) - x(fromMs) - 1), height: y(0) - y(shares[i]!) },
              }),
            ],
      ),
  }
}

function faultyPanel(rows: readonly Interval[], x: (ms: number) => number, faulty: number, servers: number): Panel {
  const fair = (100 * faulty) / servers
  const share = ({ toFaulty, attempts }: Interval): number | null => percent(toFaulty, attempts)
  return {
    title: `attempts to the ${faulty === 1 ? 'server' : `${faulty} servers`} with a fault`,
    height: 90,
    axis: linearAxis(Math.max(fair, ...rows.map((row) => share(row) ?? 0))),
    unit: (tick) => `${round(tick)} %`,
    legend: [
      ['got', 'share'],
      ['fair share', 'fair'],
    ],
    draw: (y) => [
      element('line', { class: 'fair', x1: LEFT, x2: WIDTH - RIGHT, y1: y(fair), y2: y(fair) }),
      steps(rows, x, y, 'share', share),
    ],
  }
}

/** A line that is level within each row, with gaps where there is no value. */
function steps(
  rows: readonly Interval[],
  x: (ms: number) => number,
  y: (value: number) => number,
  className: string,
  read: (row: Interval) => number | null,
): Markup {
  let pen = 'M'
  const path = rows.map((row) => {
    const value = read(row)
    if (value === null) {
      pen = 'M'
      return ''
    }
    const at = `${pen}${round(x(row.fromMs))} ${round(y(value))}H${round(x(row.untilMs))}`
    pen = 'L'
    return at
  })
  return element('path', { class: `line ${className}`, d: path.join('') })
}

function percent(part: number, whole: number): number | null {
  return whole === 0 ? null : (100 * part) / whole
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
