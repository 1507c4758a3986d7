/** What the session with the registry reports, for events, metrics and the snapshot on disk. */
import type { TrustBundle } from '../../identity/trust-bundle.ts'
import type { TapMessage } from '../../telemetry/tap/tap-message.ts'
import type { Instance } from '../instance.ts'
import type { ServiceView } from './service-view.ts'
import type { ServerMessage } from './wire.ts'

export interface RegistryObserver {
  connected(registry: string): void
  lost(registry: string, reason: string): void
  /**
   * A session could not be opened; it is tried again. `isNew`: this reason has not been reported
   * since the last session.
   */
  unreachable(registry: string, reason: string, isNew: boolean): void
  rejected(reason: string): void
  /** The endpoints and the document of a service are in force; also those of the last run. */
  applied(view: ServiceView): void
  /**
   * A document cannot be read whole. The last good one stays in force (`kept`), or the part that
   * can be read comes into force.
   */
  policyRefused(service: string, reason: string, kept: boolean): void
  /** An instance cannot be read. It stays as it last could, or is left out. */
  instanceRefused(service: string, reason: string): void
  /** Returns the sequence of the bundle that is in force now: an unusable one is not. */
  bundle(bundle: TrustBundle): number
  refused(code: string, message: string): void
  /**
   * A registry has greeted us, and asks for traffic messages this often; `undefined`: for none.
   * Without this method, the process says that it reports none.
   */
  trafficAsked?(everyMs: number | undefined): void
  /**
   * The registry taps calls, or ends a tap. Without this method, the process says that it cannot be
   * tapped.
   */
  tap?(message: TapMessage | { readonly type: 'untap'; readonly tap: string }): void
  /** A share of our service's global rate limit. */
  quota?(lease: Extract<ServerMessage, { type: 'quota' }>): void
  /**
   * The registry took an instance of ours off the list. It is listed again as long as the session
   * lasts, unless `replaced`; `lost`: it happened while there was no session, and is mended
   * already.
   */
  unlisted(instance: Instance, why: string): void
  /** Our wall clock differs from the registry's. */
  skew(ms: number): void
}
