/** The certificates of the mesh, its registries, its document, and leases that are frozen. */
import type { Graph } from '../../registry/traffic/graph.ts'
import type { Session } from '../api.ts'
import { useDocuments, useManifests } from '../document/documents.ts'
import { History } from '../document/history.tsx'
import { MESH } from '../document/mesh-document.ts'
import { Release } from '../service/release.tsx'
import { Authority } from './authority.tsx'
import { Expiry } from './expiry.tsx'
import { Registries } from './registries.tsx'

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
      <Expiry />
      <Authority />
      <MeshDocuments session={session} />
    </>
  )
}

function MeshDocuments({ session }: { session: Session }) {
  const { answer, trouble, askAgain } = useDocuments()
  const ofGateways = useManifests().filter(({ attachments }) => attachments.length === 0)
  if (answer === undefined) return <p class="hint">{trouble ?? '…'}</p>
  const inForce = answer.policies.find(({ service }) => service === MESH)?.version ?? null
  return (
    <>
      <History
        title="Document of the mesh"
        path={`/v1/policies/${MESH}`}
        inForce={inForce}
        session={session}
        onChange={askAgain}
      />
      {ofGateways.length > 0 && (
        <p class="hint">
          Manifests for Gateways, which no service of the mesh follows: {ofGateways.map((one) => one.name).join(', ')}
        </p>
      )}
    </>
  )
}
