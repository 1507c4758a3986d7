/** Who may call a service: the rules as the documents have them, and the default for all others. */
import type { Intention } from '../../discovery/intention.ts'
import type { PolicyInfo } from '../../registry/policies.ts'
import type { Session } from '../api.ts'
import { MESH } from '../document/mesh-document.ts'
import { linkTo, type Place } from '../place.ts'
import { rulesOf } from './access-rules.ts'

interface AccessProps {
  readonly service: string
  readonly policies: readonly PolicyInfo[]
  readonly session: Session
  readonly place: Place
  /** The rule that decided about the request that was explained: `allow[0]` or `default`. */
  readonly decided: string | undefined
}

export function Access({ service, policies, session, place, decided }: AccessProps) {
  const { document, rules, others } = rulesOf(service, policies, session.dev)
  return (
    <div class="table">
      <table>
        <caption>
          Who may call {service}
          <span class="hint">
            {' '}
            {document === undefined ? (
              'no document has a list'
            ) : document.service === MESH ? (
              <a href={linkTo({ view: 'mesh' }, place)}>document of the mesh, version {document.version}</a>
            ) : (
              `document of ${document.service}, version ${document.version}`
            )}
          </span>
        </caption>
        <thead>
          <tr>
            {['Rule', 'Caller', 'Methods', 'Paths', 'gRPC', 'TCP', ''].map((heading) => (
              <th key={heading} scope="col">
                {heading === '' ? <span class="unseen">Verdict</span> : heading}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rules.map((rule, i) => (
            <Rule key={i} rule={rule} name={`allow[${i}]`} isDecisive={decided === `allow[${i}]`} />
          ))}
          <tr data-rule="default" class={decided === 'default' ? 'decisive' : ''}>
            <th scope="row">default</th>
            <td>{rules.length === 0 ? 'every service' : 'everyone else'}</td>
            <td colSpan={4} />
            <td>
              <Verdict isAllowed={others === 'allow'} />
            </td>
          </tr>
        </tbody>
      </table>
    </div>
  )
}

function Rule({ rule, name, isDecisive }: { rule: Intention; name: string; isDecisive: boolean }) {
  const { from, unauthenticated, methods, paths, grpc, tcp } = rule
  const isOpen = methods === undefined && paths === undefined && grpc === undefined && tcp === undefined
  const isHttp = isOpen || methods !== undefined || paths !== undefined
  return (
    <tr data-rule={name} class={isDecisive ? 'decisive' : ''}>
      <th scope="row">{name}</th>
      <td>{unauthenticated ? 'every caller, also without identity' : from === '*' ? 'every service' : from}</td>
      <td>{isHttp ? (methods?.join(' ') ?? 'all') : 'none'}</td>
      <td>{isHttp ? (paths?.join('  ') ?? 'all') : 'none'}</td>
      <td>{isOpen ? 'all' : (grpc?.join('  ') ?? 'none')}</td>
      <td>{tcp === true ? 'yes' : 'no'}</td>
      <td>
        <Verdict isAllowed />
      </td>
    </tr>
  )
}

function Verdict({ isAllowed }: { isAllowed: boolean }) {
  return <span class={`badge ${isAllowed ? 'good' : 'bad'}`}>{isAllowed ? '✓ may call' : '✖ denied'}</span>
}
