/** An HTTP client of one service whose calls are mirrored to the endpoints of another. */

import type { HttpService } from '../../../src/client/http/call.ts'
import { HttpClient } from '../../../src/client/http/client.ts'
import { type MeshFetch, makeFetch } from '../../../src/client/http/fetch/fetch.ts'
import { MirrorsInFlight } from '../../../src/client/mirror/in-flight.ts'
import { ShadowCluster } from '../../../src/client/mirror/shadow-cluster.ts'
import { MirrorTarget } from '../../../src/client/mirror/target.ts'
import { Routed } from '../../../src/client/routed.ts'
import type { Attempt } from '../../../src/core/attempt.ts'
import { type Clock, systemClock } from '../../../src/core/clock.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import type { Outcome } from '../../../src/core/outcome.ts'
import type { Mirrored, MirrorTelemetry } from '../../../src/core/telemetry.ts'
import { SERVICE } from '../../../src/resilience/settings.ts'
import type { RouteSettings } from '../../../src/routing/settings.ts'
import { opened } from '../http/opened.ts'
import { endpoint, makeRig, type Rig, type RigOptions } from '../http/rig.ts'

const ROUTE: RouteSettings = {
  name: 'all',
  matches: [],
  targets: [],
  sticky: undefined,
  session: undefined,
  mirrors: [],
  headers: undefined,
  responseHeaders: undefined,
  rewrite: undefined,
  answer: undefined,
  faults: [],
  policy: SERVICE.resolve(),
  own: new Set(),
  failover: undefined,
}

/** Counts what mirrors do. */
export class MirrorWitness implements MirrorTelemetry {
  started = 0
  readonly ended: string[] = []
  readonly dropped: string[] = []

  mirrorStarted(): void {
    this.started += 1
  }

  mirrorEnded(_mirrored: Mirrored, _mirror: Attempt, { verdict, code }: Outcome): void {
    this.ended.push(code ?? verdict)
  }

  mirrorDropped(_mirrored: Mirrored, reason: string): void {
    this.dropped.push(reason)
  }
}

export interface MirroredOptions extends RigOptions {
  readonly share?: number
  readonly random?: () => number
}

export interface MirroredRig {
  readonly rig: Rig
  readonly http: HttpClient
  readonly fetch: MeshFetch
  readonly seen: MirrorWitness
  readonly inFlight: MirrorsInFlight
  /** The endpoints of the mirror's target; may be replaced. */
  endpoints: readonly Endpoint[]
}

/** Closed after the test. `to`: the ports of the mirror's target. */
export async function mirroredRig(
  live: number[],
  to: readonly number[],
  { share = 1, random, ...options }: MirroredOptions = {},
): Promise<MirroredRig> {
  const rig = opened(await makeRig(live, options))
  const clock: Clock = random === undefined ? systemClock : { ...wrapped(systemClock), random }
  const seen = new MirrorWitness()
  const inFlight = new MirrorsInFlight()
  const balancing = SERVICE.resolve({ balancer: 'round-robin' })
  const cluster = new ShadowCluster({
    endpoints: () => made.endpoints,
    balancing: () => balancing,
    health: { panicking: false, ejected: 0, due: () => undefined },
    client: { id: 'test', zone: undefined },
    clock,
  })
  const target = new MirrorTarget({
    service: 'inventory',
    route: 'all',
    share,
    requestChanges: [],
    cluster,
    inFlight,
    telemetry: seen,
    clock,
  })
  const routed = new Routed(ROUTE, undefined, 'checkout', [target])
  const service: HttpService = {
    service: rig.service,
    transport: rig.transport,
    select: (head, streaming) => ({ ...rig.select(head, streaming), routed }),
    unrouted: (method, streaming) => rig.unrouted(method, streaming),
  }
  const made: MirroredRig = {
    rig,
    http: new HttpClient(service, options.filters),
    fetch: makeFetch((name) => (name === rig.service ? service : undefined), options.fetch),
    seen,
    inFlight,
    endpoints: to.map((port) => endpoint(port)),
  }
  return made
}

function wrapped(clock: Clock): Clock {
  return {
    now: clock.now,
    wallNow: () => clock.wallNow(),
    random: () => clock.random(),
    startTimer: (ms, fire, context) => clock.startTimer(ms, fire, context),
    startBackgroundTimer: (ms, fire, context) => clock.startBackgroundTimer(ms, fire, context),
    stopTimer: (timer) => clock.stopTimer(timer),
    stalledMsSince: (at) => clock.stalledMsSince(at),
  }
}
