/** The registry as its sessions see it. */
import type { Clock } from '../core/clock.ts'
import type { ServerMessage } from '../discovery/registry/wire.ts'
import type { TrustingProcess } from './ca/progress-reporter.ts'
import type { Sightings } from './fleet/sightings.ts'
import type { Quotas } from './quotas/quotas.ts'
import type { Registrant, Registrar } from './registrar.ts'
import type { TapHub } from './tap/tap-hub.ts'
import type { Traffic } from './traffic/traffic.ts'
import type { WatchHub } from './watch/hub.ts'

export interface SessionHost {
  readonly hub: WatchHub
  readonly registrar: Registrar
  readonly quotas: Quotas
  /** `undefined`: it wants none. */
  readonly traffic: Traffic | undefined
  readonly taps: TapHub
  readonly clock: Clock
  readonly dev: boolean
  /** The newest protocol that it speaks. */
  readonly protocol: number
  readonly epoch: () => string
  /** How many share its store. */
  readonly registries: () => number
  /** As {@link Sightings.whenSeen}. */
  readonly whenSeen: Sightings['whenSeen']
  readonly bundle: () => Extract<ServerMessage, { type: 'bundle' }>
  /** A message or a greeting that was refused for its sender's rights. */
  refused(who: Registrant, code: string, message: string, service: string | undefined): void
  /** It ended, and its process has not left for good. */
  parted(process: TrustingProcess): void
  /** Our own failure; the process learns only its kind. */
  failed(who: Registrant, error: unknown): void
}
