/** Lets the leases of a service expire again that were frozen, because too many went silent. */
import { useState } from 'preact/hooks'
import { change, type Session } from '../api.ts'

export function Release({ service, session, onDone }: { service: string; session: Session; onDone: () => void }) {
  const [said, setSaid] = useState<string>()
  const release = async (): Promise<void> => {
    try {
      const { expired } = await change<{ expired: number }>(`/v1/services/${service}/release`)
      setSaid(`${expired} expired`)
      onDone()
    } catch (error) {
      setSaid((error as Error).message)
    }
  }
  return (
    <p class="badge warn">
      Leases of {service} are frozen: too many went silent at once.{' '}
      <button type="button" disabled={session.access !== 'admin'} onClick={release}>
        Release
      </button>{' '}
      <output>{said}</output>
    </p>
  )
}
