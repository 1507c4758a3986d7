/** One mirror of a route: what it copies calls to, which share of them, and how that is counted. */
import type { Clock } from '../../core/clock.ts'
import type { Mirrored, MirrorTelemetry } from '../../core/telemetry.ts'
import type { HeaderChanges } from '../../routing/settings.ts'
import type { MirrorDrop, MirrorsInFlight } from './in-flight.ts'
import type { ShadowCluster } from './shadow-cluster.ts'

export interface MirrorTargetParts {
  /** The service that the copies go to. */
  readonly service: string
  /** The name of the route. */
  readonly route: string
  /** From 0 to 1. */
  readonly share: number
  /** Of the route, then of the mirror's target. */
  readonly requestChanges: readonly HeaderChanges[]
  /** `undefined` while the service cannot be watched, or does not exist. */
  readonly cluster: ShadowCluster | undefined
  /** Of all mirrors to the same destination. */
  readonly inFlight: MirrorsInFlight
  readonly telemetry: MirrorTelemetry | undefined
  readonly clock: Clock
}

export class MirrorTarget implements Mirrored {
  readonly peer: string
  readonly route: string
  readonly requestChanges: readonly HeaderChanges[]
  readonly cluster: ShadowCluster | undefined
  readonly inFlight: MirrorsInFlight
  readonly telemetry: MirrorTelemetry | undefined
  readonly clock: Clock
  readonly #share: number

  constructor(parts: MirrorTargetParts) {
    this.peer = parts.service
    this.route = parts.route
    this.requestChanges = parts.requestChanges
    this.cluster = parts.cluster
    this.inFlight = parts.inFlight
    this.telemetry = parts.telemetry
    this.clock = parts.clock
    this.#share = parts.share
  }

  /** Whether the next call is copied. */
  draw(): boolean {
    return this.#share >= 1 || this.clock.random() < this.#share
  }

  drop(reason: MirrorDrop): void {
    this.telemetry?.mirrorDropped(this, reason)
  }
}
