/** A series over time, by uPlot. What was not heard is a hole in the line. */
import { useEffect, useRef, useState } from 'preact/hooks'
import UPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { clockTime } from '../format.ts'
import { useTheme } from '../use-theme.ts'

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
  /** The range of values that is shown. */
  readonly range: (least: number, most: number) => readonly [number, number]
  /** Shared by charts whose cursors move together. */
  readonly group: string
}

const HEIGHT = 132

export function Chart({ title, times, lines, format, range, group }: ChartProps) {
  const place = useRef<HTMLDivElement>(null)
  const chart = useRef<UPlot>(undefined)
  const [pointed, setPointed] = useState<number | null>(null)
  const theme = useTheme()
  const data = [times.map((at) => at / 1_000), ...lines.map(({ values }) => values)] as UPlot.AlignedData
  useEffect(() => {
    const element = place.current!
    const made = new UPlot(optionsOf(element, { lines, format, range, group }, setPointed), data, element)
    chart.current = made
    const watcher = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }))
    watcher.observe(element)
    return () => {
      watcher.disconnect()
      made.destroy()
    }
  }, [theme])
  useEffect(() => chart.current?.setData(data), [times])
  const shown = pointed ?? times.length - 1
  const figures = lines.map(({ label, color, values }) => ({ label, color, text: format(values[shown] ?? null) }))
  return (
    <figure class="chart">
      <figcaption>
        <strong>{title}</strong>
        {figures.map(({ label, color, text }) => (
          <span key={label}>
            <i class={`swatch ${color}`} /> {lines.length > 1 && label} <b>{text}</b>
          </span>
        ))}
        {pointed !== null && <span class="hint">{clockTime(times[pointed] ?? 0)}</span>}
      </figcaption>
      <div
        ref={place}
        role="img"
        aria-label={`${title} over time; latest: ${figures.map(({ label, text }) => `${label} ${text}`).join(', ')}`}
      />
    </figure>
  )
}

function optionsOf(
  element: HTMLElement,
  { lines, format, range, group }: Pick<ChartProps, 'lines' | 'format' | 'range' | 'group'>,
  onPoint: (index: number | null) => void,
): UPlot.Options {
  const style = getComputedStyle(element)
  const color = (name: string): string => style.getPropertyValue(`--${name}`).trim()
  const font = `11px ${style.fontFamily}`
  const axis = { stroke: color('soft'), font, grid: { stroke: color('line'), width: 1 }, ticks: { show: false } }
  const [first, ...others] = lines
  return {
    width: element.clientWidth,
    height: HEIGHT,
    cursor: { sync: { key: group }, y: false, drag: { x: false, y: false } },
    legend: { show: false },
    axes: [
      { ...axis, size: 24, space: 80, values: (_, splits) => splits.map((at) => clockTime(at * 1_000)) },
      { ...axis, size: 58, space: 34, values: (_, splits) => splits.map((value) => format(value)) },
    ],
    scales: { y: { range: (_, least, most) => [...range(least, most)] as [number, number] } },
    series: [
      {},
      ...[first!, ...others].map(({ label, color: name }) => ({
        ...{ label, stroke: color(name), width: 1.8, spanGaps: false, points: { show: false } },
        ...(lines.length === 1 && { fill: `${color(name)}22` }),
      })),
    ],
    hooks: {
      setCursor: [({ cursor: { idx, left } }) => onPoint(left === undefined || left < 0 ? null : (idx ?? null))],
    },
  }
}
