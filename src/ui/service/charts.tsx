/** Rate, success and latency of the calls to a service, for ten minutes. */
import { useMemo } from 'preact/hooks'
import type { TrafficSeriesAnswer } from '../../registry/traffic/series.ts'
import { latency, percent, rate } from '../format.ts'
import type { Place } from '../place.ts'
import { useAnswer } from '../use-answer.ts'
import { Chart } from './chart.tsx'
import { fromFirstKnown } from './young.ts'

const EVERY_MS = 5_000

const fromZero = (_: number, most: number): [number, number] => [0, most > 0 ? most * 1.15 : 1]
/** Down to the worst: of a success of 99 %, a scale from 0 would show nothing. */
const toWhole = (least: number): [number, number] => {
  const worst = Number.isFinite(least) ? least : 1
  return [Math.max(0, worst < 0.98 ? worst - 0.1 : 0.98), 1.002]
}

export function Charts({ service, place: { at } }: { service: string; place: Place }) {
  const path = `/v1/traffic/series?to=${service}${at === undefined ? '' : `&at=${at}`}`
  const { answer, trouble } = useAnswer<TrafficSeriesAnswer>(path, at === undefined ? EVERY_MS : 0)
  const points = useMemo(() => fromFirstKnown(answer?.points ?? []), [answer])
  const times = useMemo(() => points.map((one) => one.at), [points])
  if (answer === undefined) return <p class="hint">{trouble ?? '…'}</p>
  const all = { times, group: service }
  return (
    <div class="charts">
      <Chart
        {...all}
        title="Calls"
        format={rate}
        range={fromZero}
        lines={[{ label: 'calls', color: 'accent', values: points.map(({ perSecond }) => perSecond) }]}
      />
      <Chart
        {...all}
        title="Success"
        format={percent}
        range={toWhole}
        lines={[{ label: 'success', color: 'good', values: points.map(({ success }) => success) }]}
      />
      <Chart
        {...all}
        title="Latency"
        format={latency}
        range={fromZero}
        lines={[
          { label: 'p50', color: 'good', values: points.map(({ p50 }) => p50) },
          { label: 'p90', color: 'warn', values: points.map(({ p90 }) => p90) },
          { label: 'p99', color: 'bad', values: points.map(({ p99 }) => p99) },
        ]}
      />
    </div>
  )
}
