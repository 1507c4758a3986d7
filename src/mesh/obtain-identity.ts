/** How a process comes to its identity, at its start or later, and how long it waits for it. */
import { sleep } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import { presentedFingerprint, registryIssuer } from '../discovery/issuer.ts'
import { parseToken } from '../identity/join-token.ts'
import type { KeyStore } from '../identity/key-store.ts'
import { RotatingIdentity, type RotationEvent } from '../identity/rotation.ts'
import type { EventSink } from '../telemetry/events.ts'
import type { MeshSettings } from './options.ts'

/** Between two tries to join; a registry that starts beside us is there within this. */
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 2_000

/**
 * The identity, from the state directory or from the registry, tried until `untilAt` on the monotonic clock.
 *
 * @throws MeshError `join-refused` or `identity-rejected` at once, `registry-unavailable` when the time is over
 */
export async function obtainIdentity(
  settings: MeshSettings,
  store: KeyStore,
  events: EventSink,
  untilAt: number,
  stopped: () => boolean,
): Promise<RotatingIdentity> {
  const { clock, service, joinToken } = settings
  const token = joinToken === undefined ? undefined : parseToken(joinToken)
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)) {
    try {
      return await RotatingIdentity.start({
        service,
        store,
        clock,
        issue: registryIssuer({ addresses: settings.registry, service, joinToken, clock }),
        fingerprint: token?.fingerprint ?? (await presentedFingerprint(settings.registry, clock)),
        onEvent: (event) => tell(event, events),
      })
    } catch (error) {
      const passing = error instanceof MeshError && error.code === 'registry-unavailable'
      if (!passing || stopped() || clock.now() + pauseMs >= untilAt) throw error
      events.emit('identity:failed', { reason: error.message })
    }
    await sleep(clock, pauseMs * (0.5 + 0.5 * clock.random()))
  }
}

function tell(event: RotationEvent, events: EventSink): void {
  switch (event.type) {
    case 'loaded':
    case 'issued':
    case 'bundle':
      return
    case 'renewed': {
      const { spiffeId, notAfter, generation } = event.identity
      events.emit('identity:renewed', { spiffeId, notAfter, generation })
      return
    }
    case 'bundle-refused':
      events.emit('identity:failed', { reason: `the trust bundle was refused: ${event.detail}` })
      return
    case 'renewal-failed':
    case 'store-failed':
    case 'listener-failed':
      events.emit('identity:failed', { reason: `${event.type}: ${textOf(event.error)}` })
      return
    case 'expiring': {
      const { spiffeId, notAfter } = event.identity
      events.emit('identity:expiring', { spiffeId, notAfter })
      return
    }
    case 'expired':
      events.emit('identity:failed', { reason: 'the certificate has ended' })
      return
    case 'clock-skew':
      events.emit('identity:failed', { reason: `our clock differs from the registry's by ${event.offsetMs} ms` })
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
