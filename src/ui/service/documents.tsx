/** What is in force for a service: its document, and the manifests that are attached to it. */
import type { Session } from '../api.ts'
import { pathOf, useManifests } from '../document/documents.ts'
import { History } from '../document/history.tsx'

interface DocumentsProps {
  readonly service: string
  /** The version of its document. */
  readonly inForce: number | null
  readonly session: Session
}

export function Documents({ service, inForce, session }: DocumentsProps) {
  const manifests = useManifests().filter(({ attachments }) => attachments.some((one) => one.service === service))
  return (
    <>
      <History title="Policy" path={`/v1/policies/${service}`} inForce={inForce} session={session} />
      {manifests.map((manifest) => (
        <History
          key={pathOf(manifest)}
          title={`${manifest.kind} ${manifest.namespace}/${manifest.name}`}
          path={pathOf(manifest)}
          inForce={manifest.version}
          session={session}
        />
      ))}
    </>
  )
}
