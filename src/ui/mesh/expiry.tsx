/** When certificates end: services by the time that is left of their first one to end. */
import type { GraphNode } from '../../registry/traffic/graph.ts'
import { until } from '../format.ts'

const HOUR_MS = 3_600_000

const STEPS: readonly (readonly [title: string, mostMs: number])[] = [
  ['ended', 0],
  ['within 10 min', HOUR_MS / 6],
  ['within 1 h', HOUR_MS],
  ['within 6 h', 6 * HOUR_MS],
  ['within 24 h', 24 * HOUR_MS],
  ['within 7 d', 7 * 24 * HOUR_MS],
  ['later', Number.POSITIVE_INFINITY],
]

export function Expiry({ nodes, now }: { nodes: readonly GraphNode[]; now: number }) {
  const known = nodes.filter(({ certificateEndsAt }) => certificateEndsAt !== null)
  const byStep = Map.groupBy(known, ({ certificateEndsAt }) =>
    STEPS.findIndex(([, most]) => certificateEndsAt! - now <= most),
  )
  const most = Math.max(1, ...[...byStep.values()].map((one) => one.length))
  return (
    <>
      <div class="table">
        <table>
          <caption>Services by the first of their certificates to end</caption>
          <tbody>
            {STEPS.map(([title], step) => {
              const services = byStep.get(step) ?? []
              return (
                <tr key={title} class={services.length > 0 && step < 2 ? 'warn' : ''}>
                  <th scope="row">{title}</th>
                  <td class="figure">{services.length}</td>
                  <td>
                    <meter min={0} max={most} value={services.length} aria-label={title} />
                  </td>
                  <td>
                    {services.slice(0, 20).map(({ service, certificateEndsAt }) => (
                      <span key={service} title={until(certificateEndsAt, now)}>
                        {service}{' '}
                      </span>
                    ))}
                    {services.length > 20 && `and ${services.length - 20} more`}
                  </td>
                </tr>
              )
            })}
          </tbody>
        </table>
      </div>
      {known.length < nodes.length && (
        <p class="hint">Of {nodes.length - known.length} services no process says when its certificate ends.</p>
      )}
    </>
  )
}
