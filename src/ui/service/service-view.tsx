/** One service: how its calls go, its instances, its callers, its routes and its document. */
import type { Graph } from '../../registry/traffic/graph.ts'
import type { Session } from '../api.ts'
import { until } from '../format.ts'
import { EdgeTable } from '../graph/edge-table.tsx'
import { findingsOfNode } from '../graph/severity.ts'
import { go, linkTo, type Place } from '../place.ts'
import { Calling } from './calling.tsx'
import { Charts } from './charts.tsx'
import { Documents } from './documents.tsx'
import { Instances } from './instances.tsx'
import { Routes } from './routes.tsx'

interface ServiceViewProps {
  readonly place: Place
  readonly graph: Graph | undefined
  readonly session: Session
}

export function ServiceView({ place, graph, session }: ServiceViewProps) {
  const { service } = place
  const node = graph?.nodes.find((one) => one.service === service)
  const edges = graph?.edges.filter(({ from, to }) => from === service || to === service) ?? []
  // Callers that are not of the mesh, and what is called and unknown here, have none.
  const isListed = node !== undefined && (node.instances !== 0 || node.processes > 0 || node.policyVersion !== null)
  return (
    <>
      <div class="bar">
        <label>
          Service{' '}
          <select value={service} onChange={(event) => go({ service: event.currentTarget.value }, place)}>
            <option value="">choose one</option>
            {graph?.nodes.map((one) => (
              <option key={one.service} value={one.service}>
                {one.service}
              </option>
            ))}
          </select>
        </label>
        {service !== '' && (
          <>
            <a href={linkTo({ view: 'graph' }, place)}>In the graph</a>
            <a href={linkTo({ view: 'events' }, place)}>Its events</a>
          </>
        )}
      </div>
      {service === '' ? (
        <p class="hint">No service is chosen.</p>
      ) : (
        <>
          <h2 class="title">{service}</h2>
          {node !== undefined && (
            <p>
              {findingsOfNode(node, graph!.at).map(({ severity, text }) => (
                <span key={text} class={`badge ${severity}`}>
                  {text}
                </span>
              ))}
              <span class="hint">
                first certificate ends {until(node.certificateEndsAt, graph!.at)}
                {node.policyVersion !== null && `, policy version ${node.policyVersion}`}
              </span>
            </p>
          )}
          <Charts key={`charts ${service}`} service={service} place={place} />
          {isListed && <Instances service={service} session={session} />}
          <EdgeTable edges={edges} place={place} title="Callers and called" />
          <Routes service={service} place={place} />
          <Calling key={`calling ${service}`} {...{ service, place, session }} callers={graph?.nodes ?? []} />
          <Documents key={`documents ${service}`} {...{ service, session }} inForce={node?.policyVersion ?? null} />
        </>
      )}
    </>
  )
}
