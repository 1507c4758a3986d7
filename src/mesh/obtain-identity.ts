/** Obtains the identity of a process, from its state directory or from the registry. */
import { type Clock, sleep } from '../core/clock.ts'
import { MeshError, type MeshErrorDetails, reasonOf } from '../core/errors.ts'
import { RegistryAddresses } from '../discovery/registry/addresses.ts'
import { presentedRoots, registryIssuer, TOKEN_SHARE } from '../discovery/registry/issuer.ts'
import { rootFingerprint } from '../identity/join-token.ts'
import type { KeyStore } from '../identity/key-store.ts'
import type { RefusedPeer } from '../identity/peer-verifier.ts'
import { RotatingIdentity, type RotationEvent } from '../identity/rotation.ts'
import { formatDuration } from '../options/duration.ts'
import type { EventSink } from '../telemetry/events.ts'
import { JoinTokens, TokenAwaited } from './join-token.ts'
import type { MeshSettings } from './options.ts'

/** Between attempts to join. A registry that starts beside this process is ready by then. */
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 2_000
/** How long a registry has to present its root before the identity on disk is used as it is. */
const ROOT_TIMEOUT_MS = 1_000

/**
 * Tries until `untilAt` on the monotonic clock. `addresses` remember which registry answered last;
 * by default they are those of the settings. `waits` times the search: it decides whether that
 * keeps the process alive.
 *
 * @throws MeshError `join-refused` or `identity-rejected` at once, `registry-unavailable` when the
 * time is over
 */
export async function obtainIdentity(
  settings: MeshSettings,
  store: KeyStore,
  events: EventSink,
  untilAt: number,
  stopped: () => boolean,
  addresses = new RegistryAddresses(settings.registry, settings.clock),
  waits = settings.clock,
): Promise<RotatingIdentity> {
  const { clock, service } = settings
  const joinToken = new JoinTokens({ ...settings, clock: waits })
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)) {
    let step = 'looking for the registry and the join token'
    try {
      const options = {
        service,
        store,
        clock,
        issue: registryIssuer({ addresses, service, joinToken, clock: waits }),
        fingerprint: await pinOf(service, waits, store, joinToken, addresses, untilAt),
        onEvent: (event: RotationEvent) => tell(event, events),
      }
      step = 'asking for a certificate'
      return await RotatingIdentity.start(options, Math.max(1, untilAt - clock.now()))
    } catch (error) {
      if (!isPassing(error) || stopped()) throw error
      if (untilAt - clock.now() < FIRST_PAUSE_MS) throw inVain(error, step, settings)
      events.emit('identity:failed', { reason: error.message })
    }
    // Not past the end, and a registry that comes shortly before it is found.
    await sleep(waits, Math.min(pauseMs * (0.5 + 0.5 * clock.random()), (untilAt - clock.now()) / 2))
  }
}

function inVain(error: MeshError, step: string, settings: MeshSettings): MeshError {
  const { code, endpoint, cause } = error
  return notJoined(`while ${step}: ${error.message}`, settings, { code, endpoint, cause })
}

/** With the whole time: each step had only the rest of it. */
export function notJoined(why: string, { service, joinTimeoutMs }: MeshSettings, details: MeshErrorDetails): MeshError {
  const message = `not joined within joinTimeout (${formatDuration(joinTimeoutMs)}), ${why}`
  return new MeshError(message, { ...details, service, elapsedMs: joinTimeoutMs })
}

/**
 * The fingerprint that a stored identity must have among its roots. Calls the application's token
 * function only without a valid identity, or if a registry presents another root.
 */
async function pinOf(
  service: string,
  clock: Clock,
  store: KeyStore,
  joinToken: JoinTokens,
  addresses: RegistryAddresses,
  untilAt: number,
): Promise<string | undefined> {
  const leftMs = (): number => Math.max(1, untilAt - clock.now())
  /** One that the stored identity has, if it has one. */
  const presented = async (anywhere: boolean): Promise<string | undefined> => {
    const shown = await presentedRoots(addresses, clock, Math.min(ROOT_TIMEOUT_MS, leftMs() / 3), anywhere)
    const stored = await store.loadIdentity(service)
    const known = stored?.roots.map((root) => rootFingerprint(root)) ?? []
    return shown?.fingerprints.find((one) => known.includes(one)) ?? shown?.fingerprints[0]
  }
  const stored = joinToken.costly ? await store.loadIdentity(service) : undefined
  if (stored !== undefined) {
    const shown = await presented(true)
    if (shown === undefined || stored.roots.some((root) => rootFingerprint(root) === shown)) return undefined
  }
  try {
    const token = await joinToken.ask(leftMs() * TOKEN_SHARE)
    return token?.fingerprint ?? (await presented(false))
  } catch (error) {
    const shown = await presented(false)
    // Joining would only call the function again.
    if (joinToken.costly && (stored === undefined || shown !== undefined)) throw error
    // Without a token, the identity on disk may do.
    return shown
  }
}

/**
 * The registry is away, its certificate ended while it slept and is about to be renewed, or the
 * token is not there yet.
 */
function isPassing(error: unknown): error is MeshError {
  if (!(error instanceof MeshError)) return false
  if (error.code === 'registry-unavailable') return true
  const { cause } = error
  return (
    error.code === 'join-refused' && (cause instanceof TokenAwaited || (cause as RefusedPeer)?.reason === 'expired')
  )
}

function tell(event: RotationEvent, events: EventSink): void {
  switch (event.type) {
    case 'loaded':
    case 'issued':
    case 'bundle':
      return
    case 'renewed':
    case 'rejoined': {
      const { spiffeId, notAfter, generation } = event.identity
      const rejoined = event.type === 'rejoined'
      events.emit('identity:renewed', { spiffeId, notAfter, generation, ...(rejoined && { rejoined }) })
      return
    }
    case 'bundle-refused':
      events.emit('identity:failed', { reason: `the trust bundle was refused: ${event.detail}` })
      return
    case 'renewal-failed':
    case 'store-failed':
    case 'listener-failed':
      events.emit('identity:failed', { reason: `${event.type}: ${reasonOf(event.error)}` })
      return
    case 'expiring': {
      const { spiffeId, notAfter } = event.identity
      events.emit('identity:expiring', { spiffeId, notAfter })
      return
    }
    case 'expired': {
      const { spiffeId, notAfter } = event.identity
      events.emit('identity:expired', { spiffeId, notAfter })
      return
    }
    case 'clock-skew':
      events.emit('identity:failed', { reason: `our clock differs from the registry's by ${event.offsetMs} ms` })
  }
}
