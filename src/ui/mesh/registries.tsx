/** The registries of the mesh: which answer, how current each is, and what it does. */
import type { ListedRegistry } from '../../registry/fleet/fleet.ts'
import { span, UNKNOWN } from '../format.ts'
import { Headings } from '../headings.tsx'
import { useAnswer } from '../use-answer.ts'

const EVERY_MS = 5_000

export function Registries() {
  const { answer, trouble } = useAnswer<{ registries: readonly ListedRegistry[] }>('/v1/registries', EVERY_MS)
  return (
    <div class="table">
      <table>
        <caption>Registries</caption>
        <thead>
          <Headings
            titles={['Registry', 'Address', 'State', 'Version', 'Runs', 'Roles', 'Sessions', 'Revision', 'Lag']}
          />
        </thead>
        <tbody>
          {answer?.registries.map((one) => (
            <tr key={one.id} class={one.reachable && one.ready ? '' : 'bad'} data-registry={one.id}>
              <th scope="row">{one.id}</th>
              <td>{one.url}</td>
              <td>{one.reachable ? (one.ready ? 'ready' : one.reason) : `no answer: ${one.reason}`}</td>
              <td>{one.version}</td>
              <td>{span(Date.now() - one.startedAt)}</td>
              <td>{one.reachable ? one.roles.join(', ') : UNKNOWN}</td>
              <td class="figure">{one.reachable ? one.sessions : UNKNOWN}</td>
              <td class="figure">{one.reachable ? one.revision : UNKNOWN}</td>
              <td class="figure">{one.reachable ? (one.lag ?? UNKNOWN) : UNKNOWN}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p role="alert">{trouble}</p>
    </div>
  )
}
