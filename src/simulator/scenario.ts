/** What is simulated: documents, clients, servers, load, and what goes wrong. */
import type { RequestHead } from '../core/request-head.ts'
import type { PolicyDocument } from '../discovery/policy-document.ts'
import type { Chance } from './chance.ts'
import type { FaultKind } from './faults.ts'

export interface Scenario {
  /** Checked, one for each service at most; `mesh` holds the defaults of all. */
  readonly documents: readonly PolicyDocument[]
  /** The service that is called. */
  readonly service: string
  /** The calling service. */
  readonly from: string
  readonly request: RequestHead
  readonly clients: number
  /** Instances of each service. */
  readonly servers: number
  /** Requests that a server works on at once. */
  readonly workers: number
  /** What a request takes a worker. */
  readonly meanMs: number
  readonly latency: LatencyShape
  /** Calls of all clients together. */
  readonly perSecond: number
  readonly durationMs: number
  readonly zones: number
  /** Servers report their load with their answers. */
  readonly reports: boolean
  readonly seed: number
  readonly faults: readonly ScenarioFault[]
}

/** A fault of some servers of the called service. */
export interface ScenarioFault {
  /** As it is written, for people. */
  readonly name: string
  readonly kind: FaultKind
  /** The indices of its servers. */
  readonly servers: readonly number[]
  readonly fromMs: number
  /** `Infinity`: it goes on when no more calls begin. */
  readonly untilMs: number
}

/** How long requests take, with the given mean. */
export const LATENCY_SHAPES = {
  exponential: (chance: Chance, mean: number) => chance.exponential(mean),
  constant: (_chance: Chance, mean: number) => mean,
  normal: (chance: Chance, mean: number) => chance.normal(mean, mean / 5),
  'heavy-tail': (chance: Chance, mean: number) => Math.min(50 * mean, chance.logNormal(mean, 1.3)),
} as const

export type LatencyShape = keyof typeof LATENCY_SHAPES

/** Requests per second that all servers together can serve. */
export function capacityOf({ servers, workers, meanMs }: Pick<Scenario, 'servers' | 'workers' | 'meanMs'>): number {
  return (1_000 * servers * workers) / meanMs
}

/** The indices of the servers that have a fault at some time; none if all have. */
export function faultyOf({ faults, servers }: Pick<Scenario, 'faults' | 'servers'>): readonly number[] {
  const faulty = new Set(faults.flatMap((fault) => (fault.servers.length === servers ? [] : fault.servers)))
  return faulty.size === servers ? [] : [...faulty]
}

export function serverName(service: string, index: number): string {
  return `${service}-${index + 1}`
}
