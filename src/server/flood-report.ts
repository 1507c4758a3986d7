/** Reports a peer whose connection ends because it floods the server or breaks its protocol. */
import type { EventSink } from '../telemetry/events.ts'
import type { Connection } from './connection.ts'

/** `reason`: of a fixed set, because metrics have one series for each. */
export function reportFlood(events: EventSink, { socket, caller }: Connection, reason: string): void {
  const address = socket.remoteAddress
  events.emit('peer:refused', {
    side: 'server',
    reason,
    ...(caller?.service !== undefined && { peer: caller.service }),
    ...(address !== undefined && { address }),
  })
}
