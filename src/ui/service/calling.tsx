/** Who may call a service, beside the question why one may not. */
import { useState } from 'preact/hooks'
import type { Session } from '../api.ts'
import { useDocuments } from '../document/documents.ts'
import type { Place } from '../place.ts'
import { Access } from './access.tsx'
import { Explain } from './explain.tsx'

interface CallingProps {
  readonly service: string
  readonly place: Place
  readonly session: Session
  readonly callers: readonly { readonly service: string }[]
}

export function Calling({ service, place, session, callers }: CallingProps) {
  const { answer, trouble } = useDocuments()
  const [decided, setDecided] = useState<string>()
  return (
    <>
      {answer === undefined ? (
        <p class="hint">{trouble ?? '…'}</p>
      ) : (
        <Access {...{ service, session, place, decided }} policies={answer.policies} />
      )}
      <Explain service={service} callers={callers} onDecided={setDecided} />
    </>
  )
}
