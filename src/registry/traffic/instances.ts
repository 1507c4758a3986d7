/** The instances of a service, each with its process: its last report, and how current it is. */
import { addressKey, labelOf } from '../../core/endpoint.ts'
import { addDigest, DIGEST_STEPS, quantileOf } from '../../telemetry/traffic/latency-digest.ts'
import { holderOf } from '../records.ts'
import type { ServiceEntry } from '../service-entry.ts'
import type { ReportingProcess } from './processes.ts'
import { rounded } from './rounded.ts'
import type { ServedFigures } from './served.ts'
import { SLOT_MS } from './slots.ts'
import type { Traffic } from './traffic.ts'

/** A process, as the registry knows it that has its session. */
export interface ProcessReport {
  readonly process: string
  readonly registry: string
  /** Ids of its instances. */
  readonly instances: readonly string[]
  /** False: its session has ended without a word. */
  readonly connected: boolean
  /** False: it is of an older version. */
  readonly reports: boolean
  /** Since when nothing was heard of it. */
  readonly silentMs: number | null
  /** Wall clock, ms. */
  readonly certificateEndsAt: number | null
  /** Services that it watches, and those whose last change it has not acknowledged. */
  readonly watches: number | null
  readonly behind: number | null
  /** The calls that it made in its last interval; `null`: it did not say. */
  readonly perSecond: number | null
  readonly success: number | null
  readonly p50: number | null
  readonly p99: number | null
  readonly inFlight: number | null
  /** By id, how its instances served over the last minute; of those that are known. */
  readonly served: Readonly<Record<string, ServedFigures>>
}

export interface ServedByInstance extends ServedFigures {
  /** Of the requests of all instances that are known; `null`: there are none. */
  readonly share: number | null
}

export interface ServiceInstance {
  readonly id: string
  /** `host:port`. */
  readonly address: string
  readonly version: string | null
  readonly zone: string | null
  readonly state: string
  readonly weight: number
  /** What an operator decided about it. */
  readonly disabled: boolean
  /** Wall clock, ms. */
  readonly registeredAt: number
  /** The registry that holds its lease. */
  readonly registry: string
  /** `null`: its process is at a registry that did not answer, or has no session. */
  readonly process: ProcessReport | null
  /** What it served to all callers over the last minute; `null`: unknown. */
  readonly served: ServedByInstance | null
}

export interface Watching {
  readonly watches: number
  readonly behind: number
}

export function reportsOf(
  traffic: Traffic,
  registry: string,
  service: string,
  entry: ServiceEntry | undefined,
  watching: (process: ReportingProcess) => Watching | undefined,
): ProcessReport[] {
  return [...traffic.processes.expected()]
    .filter((process) => process.service === service)
    .map((process) => reportOf(traffic, registry, process, entry, watching(process)))
}

function reportOf(
  traffic: Traffic,
  registry: string,
  process: ReportingProcess,
  entry: ServiceEntry | undefined,
  watching: Watching | undefined,
): ProcessReport {
  const { name, session, reports, last, instances, inFlight, history } = process
  const isHeard = traffic.isHeard(process)
  const isFresh = last !== undefined && traffic.now() - last.at < 2 * SLOT_MS
  const calls = isFresh ? last.calls : 0
  const steps = new Float64Array(DIGEST_STEPS)
  if (isFresh) addDigest(last.ms, steps)
  const at = (q: number): number | null => {
    const ms = isHeard ? quantileOf(steps, q) : undefined
    return ms === undefined ? null : rounded(ms)
  }
  const end = session?.notAfter
  return {
    process: name,
    registry,
    instances: session === undefined ? instances : [...session.instances],
    connected: session !== undefined,
    reports,
    silentMs: session === undefined ? Math.round(traffic.now() - history.heardUntil) : traffic.silentMs(session),
    certificateEndsAt: end !== undefined && Number.isFinite(end) ? end : null,
    watches: watching?.watches ?? null,
    behind: watching?.behind ?? null,
    perSecond: isHeard ? rounded(isFresh ? (calls * 1_000) / Math.max(1, last.forMs) : 0) : null,
    success: isHeard && calls > 0 ? 1 - last!.failures / calls : null,
    p50: at(0.5),
    p99: at(0.99),
    inFlight: isHeard ? [...inFlight.values()].reduce((sum, n) => sum + n, 0) : null,
    served: isHeard ? servedBy(traffic, process, entry) : {},
  }
}

function servedBy(
  traffic: Traffic,
  { session, served, history }: ReportingProcess,
  entry: ServiceEntry | undefined,
): Record<string, ServedFigures> {
  const known: [string, ServedFigures][] = []
  for (const id of session?.instances ?? []) {
    const record = entry?.instances.get(id)
    if (record === undefined) continue
    const figures = served.figures(id, history, record.registeredAt - traffic.wallOf(0))
    if (figures !== undefined) known.push([id, figures])
  }
  return Object.fromEntries(known)
}

export function instancesOf(entry: ServiceEntry, reports: readonly ProcessReport[]): ServiceInstance[] {
  const byInstance = new Map<string, ProcessReport>()
  for (const report of reports) {
    for (const id of report.instances) if (report.connected || !byInstance.has(id)) byInstance.set(id, report)
  }
  const servedOf = (id: string): ServedFigures | undefined => {
    const served = byInstance.get(id)?.served
    return served !== undefined && Object.hasOwn(served, id) ? served[id] : undefined
  }
  let all = 0
  for (const id of entry.instances.keys()) all += servedOf(id)?.perSecond ?? 0
  return [...entry.instances.values()].map((record) => {
    const { id, version, zone, state, weight } = record.instance
    const served = servedOf(id)
    return {
      id,
      address: labelOf(record.instance),
      version: version ?? null,
      zone: zone ?? null,
      state,
      weight,
      disabled: entry.overrides.get(addressKey(record.instance))?.disabled === true,
      registeredAt: record.registeredAt,
      registry: holderOf(record),
      process: byInstance.get(id) ?? null,
      served: served === undefined ? null : { ...served, share: all > 0 ? rounded(served.perSecond / all) : null },
    }
  })
}
