/** The routes of a service: the weights as the document has them, and the shares as served. */
import type { RoutesAnswer } from '../../registry/traffic/routes.ts'
import { latency, percent, rate, UNKNOWN } from '../format.ts'
import { Headings } from '../headings.tsx'
import type { Place } from '../place.ts'
import { ShareBar } from '../share-bar.tsx'
import { useAnswer } from '../use-answer.ts'
import { type WantedRoute, wantedRoutes } from './wanted.ts'

const EVERY_MS = 5_000

export function Routes({ service, place: { windowS, at } }: { service: string; place: Place }) {
  const end = at === undefined ? '' : `&at=${at}`
  const path = `/v1/traffic/routes?service=${service}&window=${windowS}s${end}`
  const { answer, trouble } = useAnswer<RoutesAnswer>(path, at === undefined ? EVERY_MS : 0)
  if (answer === undefined) return <p class="hint">{trouble ?? '…'}</p>
  const { routes, document, left } = answer
  const wanted = wantedRoutes(document?.routes)
  const byName = new Map(wanted.map((one) => [one.name, one]))
  const idle = wanted.filter(({ name }) => !routes.some((one) => one.route === name))
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
          <Headings titles={['Route', 'Method', 'Weights', 'As served', 'Calls', 'Success', 'p99', 'Callers']} />
        </thead>
        <tbody>
          {routes.map((one) => (
            <tr key={`${one.route} ${one.protocol} ${one.method}`}>
              <th scope="row" title={byName.get(one.route)?.when}>
                {one.route === '' ? '(no route)' : one.route}
              </th>
              <td>
                {one.protocol} {one.method}
              </td>
              <td>
                <Weights route={byName.get(one.route)} />
              </td>
              <td>
                <ShareBar shares={servedOf(service, one)} label="as served" />
              </td>
              <td class="figure">{rate(one.perSecond)}</td>
              <td class="figure">{percent(one.success)}</td>
              <td class="figure">{latency(one.p99)}</td>
              <td>{one.callers.join(', ')}</td>
            </tr>
          ))}
          {idle.map((route) => (
            <tr key={`idle ${route.name}`}>
              <th scope="row">{route.name}</th>
              <td>{route.when === '' ? 'all' : route.when}</td>
              <td>
                <Weights route={route} />
              </td>
              <td class="hint" colSpan={5}>
                no calls in this window
              </td>
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

function Weights({ route }: { route: WantedRoute | undefined }) {
  if (route?.shares) return <ShareBar shares={route.shares} label="wanted" />
  return <>{route?.to ?? UNKNOWN}</>
}
