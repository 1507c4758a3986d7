/** The routes of a service: the weights as the document has them, and the shares as served. */
import type { RoutesAnswer } from '../../registry/traffic/routes.ts'
import { latency, percent, rate, shares } from '../format.ts'
import type { Place } from '../place.ts'
import { useAnswer } from '../use-answer.ts'

const EVERY_MS = 5_000

interface DocumentRoute {
  readonly name?: string
  readonly split?: unknown
  readonly to?: unknown
}

export function Routes({ service, place: { windowS, at } }: { service: string; place: Place }) {
  const end = at === undefined ? '' : `&at=${at}`
  const path = `/v1/traffic/routes?service=${service}&window=${windowS}s${end}`
  const { answer, trouble } = useAnswer<RoutesAnswer>(path, at === undefined ? EVERY_MS : 0)
  if (answer === undefined) return <p class="hint">{trouble ?? '…'}</p>
  const { routes, document, left } = answer
  const wanted = new Map(
    (Array.isArray(document?.routes) ? (document.routes as DocumentRoute[]) : []).map((one) => [one.name ?? '', one]),
  )
  return (
    <div class="table">
      <table>
        <caption>
          Routes
          {document !== null && (
            <span class="hint">
              {' '}
              document version {document.version ?? '–'}, acknowledged by {document.acknowledged} of {document.watchers}
            </span>
          )}
        </caption>
        <thead>
          <tr>
            {['Route', 'Method', 'As it is', 'As served', 'Calls', 'Success', 'p99', 'Callers'].map((heading) => (
              <th key={heading} scope="col">
                {heading}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {routes.map((one) => (
            <tr key={`${one.route} ${one.protocol} ${one.method}`}>
              <th scope="row">{one.route === '' ? '(no route)' : one.route}</th>
              <td>
                {one.protocol} {one.method}
              </td>
              <td>{weightsOf(wanted.get(one.route))}</td>
              <td>{shares(servedOf(service, one))}</td>
              <td class="figure">{rate(one.perSecond)}</td>
              <td class="figure">{percent(one.success)}</td>
              <td class="figure">{latency(one.p99)}</td>
              <td>{one.callers.join(', ')}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {left > 0 && <p class="hint">{left} more kinds of calls.</p>}
    </div>
  )
}

/** By service where the route leads to others, too; otherwise by version. */
function servedOf(
  service: string,
  { services, versions }: RoutesAnswer['routes'][number],
): Readonly<Record<string, number>> | null {
  const led = Object.keys(services ?? {}).filter((one) => one !== service)
  return led.length > 0 ? services : versions
}

function weightsOf(route: DocumentRoute | undefined): string {
  const wanted = route?.split ?? route?.to
  return wanted === undefined ? '–' : typeof wanted === 'string' ? wanted : JSON.stringify(wanted)
}
