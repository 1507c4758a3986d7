/** The fleets and the balancers to compare, for real processes and for the simulator alike. */
import type { TransportPreference } from '../../src/core/transport.ts'
import type { BalancerName } from '../../src/resilience/balancing-settings.ts'
import type { ServiceOptions } from '../../src/resilience/settings.ts'

export const CLIENTS = 10
export const SERVERS = 20

/** Times are long beside the pauses of a busy machine. */
export interface Shape {
  readonly name: string
  readonly workers: number
  /** Of the work of one request at speed 1: normal with as much deviation, drawn again below 0. */
  readonly meanMs: number
  /** Every second server. */
  readonly slowSpeed: number
  /** Share of the capacity of all. */
  readonly load: number
  readonly options: ServiceOptions & { readonly timeout: number }
}

/** Nothing but the balancer helps. */
const ALONE = { timeout: 10_000, retry: { attempts: 1 }, circuitBreaker: false, throttle: false } as const

export const SPARSE: Shape = { name: 'sparse', workers: 1, meanMs: 200, slowSpeed: 1, load: 0.9, options: ALONE }
export const HETERO: Shape = { name: 'hetero', workers: 2, meanMs: 150, slowSpeed: 0.5, load: 0.9, options: ALONE }
/**
 * Circuit, retries and budget are the defaults, so calls fail by time. Times are longer and calls
 * fewer, because all that fails at once makes a machine busy.
 */
export const BLACKOUT: Shape = {
  ...{ name: 'blackout', workers: 2, meanMs: 300, slowSpeed: 1, load: 0.5 },
  options: { timeout: 3_000 },
}
export const OUTAGE_MS = 5_000

export const speedOf = ({ slowSpeed }: Shape, server: number): number => (server % 2 === 0 ? 1 : slowSpeed)

/** Of all clients together. */
export function perSecond(shape: Shape): number {
  const speeds = Array.from({ length: SERVERS }, (_, i) => speedOf(shape, i)).reduce((a, b) => a + b)
  return (1_000 * shape.load * shape.workers * speeds) / shape.meanMs
}

/** One service, which all servers serve with a queue for it alone. */
export interface Arm {
  readonly service: string
  readonly name: string
  readonly balancer: BalancerName
  /** Servers that know no peer by certificate report over `inmesh/1` only. */
  readonly transport: TransportPreference
}

export const ARMS: readonly Arm[] = [
  { service: 'by-requests', name: 'least-request', balancer: 'least-request', transport: 'http1' },
  { service: 'by-latency', name: 'peak-ewma', balancer: 'peak-ewma', transport: 'http1' },
  { service: 'unreported', name: 'least-load', balancer: 'least-load', transport: 'http1' },
  { service: 'reported', name: 'least-load, servers report', balancer: 'least-load', transport: 'auto' },
]

/** Circuit and ejection end an outage, not the balancer: the default one, over each transport. */
export const BLACKOUT_ARMS = ARMS.filter(({ balancer }) => balancer === 'least-load')
