/** A series over time, by uPlot. What was not heard is a hole in the line. */
import { useEffect, useRef } from 'preact/hooks'
import UPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'

export interface Line {
  readonly label: string
  readonly values: readonly (number | null)[]
  /** The name of a custom property of the style sheet. */
  readonly color: string
}

export interface ChartProps {
  readonly title: string
  /** Wall clock, ms. */
  readonly times: readonly number[]
  readonly lines: readonly Line[]
  readonly format: (value: number | null) => string
  /** Shared by charts whose cursors move together. */
  readonly group: string
}

const HEIGHT = 150

export function Chart({ title, times, lines, format, group }: ChartProps) {
  const place = useRef<HTMLDivElement>(null)
  const chart = useRef<UPlot>(undefined)
  const data = [times.map((at) => at / 1_000), ...lines.map(({ values }) => values)] as UPlot.AlignedData
  useEffect(() => {
    const element = place.current!
    const made = new UPlot(optionsOf(element, lines, format, group), data, element)
    chart.current = made
    const watcher = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }))
    watcher.observe(element)
    return () => {
      watcher.disconnect()
      made.destroy()
    }
  }, [])
  useEffect(() => chart.current?.setData(data))
  const latest = lines.map(({ label, values }) => `${label} ${format(values.at(-1) ?? null)}`).join(', ')
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={place} role="img" aria-label={`${title} over time; latest: ${latest}`} />
    </figure>
  )
}

function optionsOf(
  element: HTMLElement,
  lines: readonly Line[],
  format: ChartProps['format'],
  group: string,
): UPlot.Options {
  const style = getComputedStyle(element)
  const color = (name: string): string => style.getPropertyValue(`--${name}`).trim()
  const axis = { stroke: color('soft'), grid: { stroke: color('line'), width: 1 }, ticks: { show: false } }
  return {
    width: element.clientWidth,
    height: HEIGHT,
    cursor: { sync: { key: group } },
    axes: [axis, { ...axis, size: 64, values: (_, splits) => splits.map((value) => format(value)) }],
    scales: { y: { range: (_, _min, max) => [0, max > 0 ? max * 1.1 : 1] } },
    series: [
      {},
      ...lines.map(({ label, color: name }) => ({
        ...{ label, stroke: color(name), width: 1.5, spanGaps: false },
        value: (_: UPlot, value: number | null) => format(value),
      })),
    ],
  }
}
