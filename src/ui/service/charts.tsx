/** Rate, success and latency of the calls to a service, for ten minutes. */
import type { TrafficSeriesAnswer } from '../../registry/traffic/series.ts'
import { latency, percent, rate } from '../format.ts'
import type { Place } from '../place.ts'
import { useAnswer } from '../use-answer.ts'
import { Chart } from './chart.tsx'

const EVERY_MS = 5_000

export function Charts({ service, place: { at } }: { service: string; place: Place }) {
  const path = `/v1/traffic/series?to=${service}${at === undefined ? '' : `&at=${at}`}`
  const { answer, trouble } = useAnswer<TrafficSeriesAnswer>(path, at === undefined ? EVERY_MS : 0)
  if (answer === undefined) return <p class="hint">{trouble ?? '…'}</p>
  const { points } = answer
  const times = points.map((one) => one.at)
  const all = { times, group: service }
  return (
    <div class="charts">
      <Chart
        {...all}
        title="Calls"
        format={rate}
        lines={[{ label: 'calls', color: 'accent', values: points.map(({ perSecond }) => perSecond) }]}
      />
      <Chart
        {...all}
        title="Success"
        format={percent}
        lines={[{ label: 'success', color: 'good', values: points.map(({ success }) => success) }]}
      />
      <Chart
        {...all}
        title="Latency"
        format={latency}
        lines={[
          { label: 'p50', color: 'good', values: points.map(({ p50 }) => p50) },
          { label: 'p90', color: 'warn', values: points.map(({ p90 }) => p90) },
          { label: 'p99', color: 'bad', values: points.map(({ p99 }) => p99) },
        ]}
      />
    </div>
  )
}
