/** The certificates of the mesh and its registries, and the services whose leases are frozen. */
import type { AuthorityStatus, StageInfo } from '../../registry/ca/authority-status.ts'
import type { ListedRegistry } from '../../registry/fleet/fleet.ts'
import type { Graph } from '../../registry/traffic/graph.ts'
import type { Session } from '../api.ts'
import { dateTime, span, UNKNOWN, until } from '../format.ts'
import { Release } from '../service/instances.tsx'
import { useAnswer } from '../use-answer.ts'
import { Expiry } from './expiry.tsx'

const EVERY_MS = 5_000

export function MeshView({ graph, session }: { graph: Graph | undefined; session: Session }) {
  const frozen = graph?.nodes.filter((node) => node.frozen === true) ?? []
  return (
    <>
      <section>
        <h2>Leases</h2>
        {frozen.length === 0 && <p class="hint">No service is frozen.</p>}
        {frozen.map(({ service }) => (
          <Release key={service} service={service} session={session} onDone={() => undefined} />
        ))}
      </section>
      <Registries />
      <section>
        <h2>Certificates of processes</h2>
        {graph !== undefined && <Expiry nodes={graph.nodes} now={graph.at} />}
      </section>
      <Authority />
    </>
  )
}

function Registries() {
  const { answer, trouble } = useAnswer<{ registries: readonly ListedRegistry[] }>('/v1/registries', EVERY_MS)
  return (
    <div class="table">
      <table>
        <caption>Registries</caption>
        <thead>
          <tr>
            {['Registry', 'Address', 'State', 'Version', 'Runs', 'Roles', 'Sessions', 'Revision', 'Lag'].map(
              (heading) => (
                <th key={heading} scope="col">
                  {heading}
                </th>
              ),
            )}
          </tr>
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

function Authority() {
  const { answer, trouble } = useAnswer<AuthorityStatus>('/v1/ca', EVERY_MS)
  if (answer === undefined) return <p class="hint">{trouble ?? '…'}</p>
  const { certificates, tokens, registries } = answer
  return (
    <section>
      <h2>Authority</h2>
      <p>
        Certificates: {stage(certificates)}. Tokens: {stage(tokens)}.
      </p>
      {registries.map(({ id, processes, behind, names }) => (
        <p key={id}>
          <label>
            {id}: {processes - behind} of {processes} processes have the trusted authorities{' '}
            <progress max={Math.max(1, processes)} value={processes === 0 ? 1 : processes - behind} />
          </label>
          {names.length > 0 && <span class="hint"> behind: {names.join(', ')}</span>}
        </p>
      ))}
      <div class="table">
        <table>
          <caption>Trusted authorities</caption>
          <thead>
            <tr>
              {['Authority', 'Role', 'Part', 'Key', 'Ends'].map((heading) => (
                <th key={heading} scope="col">
                  {heading}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {certificates.authorities.map(({ id, role, part, key, notAfter }) => (
              <tr key={id}>
                <th scope="row">{id}</th>
                <td>{role}</td>
                <td>{part}</td>
                <td>{key}</td>
                <td title={dateTime(notAfter)}>{until(notAfter, Date.now())}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

function stage({ stage: name, since, waitsFor }: StageInfo): string {
  const wait =
    waitsFor === undefined || (waitsFor as unknown) === 'nothing' ? '' : `, waits for ${JSON.stringify(waitsFor)}`
  return since > 0 ? `${name} since ${dateTime(since)}${wait}` : `${name}${wait}`
}
