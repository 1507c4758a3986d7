/**
 * The gauges of a mesh, in one place so that their names match the documentation. Values are read
 * from their owners when metrics are scraped.
 */
import type { EndpointState } from '../core/endpoint.ts'
import type { Protocol } from '../core/protocol.ts'
import type { EventCircuitState } from './events.ts'
import type { LoopDelay } from './loop-delay.ts'
import { PEERS, PROCESS, SERVER } from './metric-definitions.ts'
import type { Metrics, Observation } from './metrics.ts'

/** The readings of one called service. */
export interface PeerReading {
  readonly peer: string
  /** Set unless it is HTTP: a service has a breaker, a budget and endpoints per protocol. */
  readonly protocol?: Protocol | undefined
  /** Set if the reading is of the separate state of one of its routes. */
  readonly route?: string | undefined
  readonly circuit?: EventCircuitState | undefined
  /** How many retries the budget can pay for now. */
  readonly retryBudget?: number | undefined
  /** Share of attempts that the client throttle rejects, from 0 to 1. */
  readonly throttled?: number | undefined
  readonly panic?: boolean | undefined
  readonly endpoints?: readonly { readonly state: EndpointState; readonly pending: number }[] | undefined
}

/** The sources of the values. An `undefined` value is omitted. */
export interface GaugeSources {
  readonly service: string
  peers(): Iterable<PeerReading>
  /** Wall-clock end of the current certificate, in ms since 1970. */
  certificateNotAfter(): number | undefined
  wallNow(): number
  /** Time in ms since the registry last confirmed that the configuration is current. */
  snapshotAgeMs(): number | undefined
  configRevision(): number | undefined
  /** Whether the session with the registry is established. */
  registryConnected(): boolean | undefined
  /** Concurrency limit of the servers; absent: none. */
  concurrencyLimit?(): number | undefined
  /**
   * This process's share of the global rate limit, in requests per second, and whether the registry
   * leases it; absent: there is no such limit.
   */
  globalRate?(): { readonly share: number; readonly isLeased: boolean } | undefined
  readonly loopDelay?: LoopDelay | undefined
}

const CIRCUIT: Record<EventCircuitState, number> = { closed: 0, 'half-open': 1, open: 2 }
const STATES: readonly EndpointState[] = ['healthy', 'ejected', 'probing']

/** Registers all gauges; returns a function that removes them. */
export function registerMeshGauges(metrics: Metrics, sources: GaugeSources): () => void {
  const service = sources.service
  const perPeer = (value: (reading: PeerReading) => number | undefined) =>
    function* (): Iterable<Observation> {
      for (const reading of sources.peers()) {
        const read = value(reading)
        if (read !== undefined) yield { labels: labelsOf(service, reading), value: read }
      }
    }
  const single = (value: () => number | undefined) => (): Observation[] => {
    const read = value()
    return read === undefined ? [] : [{ labels: { service }, value: read }]
  }
  const undo = [
    metrics.gauge(
      PEERS.circuit,
      perPeer(({ circuit }) => (circuit === undefined ? undefined : CIRCUIT[circuit])),
    ),
    metrics.gauge(
      PEERS.retryBudget,
      perPeer(({ retryBudget }) => retryBudget),
    ),
    metrics.gauge(
      PEERS.throttled,
      perPeer(({ throttled }) => throttled),
    ),
    metrics.gauge(
      PEERS.panic,
      perPeer(({ panic }) => (panic === undefined ? undefined : Number(panic))),
    ),
    metrics.gauge(
      PEERS.attemptsInFlight,
      perPeer(({ endpoints }) => endpoints?.reduce((sum, { pending }) => sum + pending, 0)),
    ),
    metrics.gauge(PEERS.endpoints, function* () {
      for (const reading of sources.peers()) {
        const { endpoints } = reading
        if (endpoints === undefined) continue
        for (const state of STATES) {
          const value = endpoints.filter((endpoint) => endpoint.state === state).length
          yield { labels: { ...labelsOf(service, reading), state }, value }
        }
      }
    }),
    metrics.gauge(
      SERVER.concurrencyLimit,
      single(() => sources.concurrencyLimit?.()),
    ),
    metrics.gauge(
      SERVER.globalRateShare,
      single(() => sources.globalRate?.()?.share),
    ),
    metrics.gauge(
      SERVER.globalRateLeased,
      single(() => {
        const rate = sources.globalRate?.()
        return rate === undefined ? undefined : Number(rate.isLeased)
      }),
    ),
    metrics.gauge(
      PROCESS.identityExpiry,
      single(() => {
        const notAfter = sources.certificateNotAfter()
        return notAfter === undefined ? undefined : (notAfter - sources.wallNow()) / 1_000
      }),
    ),
    metrics.gauge(
      PROCESS.snapshotAge,
      single(() => {
        const age = sources.snapshotAgeMs()
        return age === undefined ? undefined : age / 1_000
      }),
    ),
    metrics.gauge(
      PROCESS.revision,
      single(() => sources.configRevision()),
    ),
    metrics.gauge(
      PROCESS.registryConnected,
      single(() => {
        const connected = sources.registryConnected()
        return connected === undefined ? undefined : Number(connected)
      }),
    ),
    metrics.gauge(PROCESS.loopDelay, () => {
      if (sources.loopDelay === undefined) return []
      sources.loopDelay.start()
      const { p50, p99, max } = sources.loopDelay.read()
      return [
        { labels: { service, quantile: '0.5' }, value: p50 / 1_000 },
        { labels: { service, quantile: '0.99' }, value: p99 / 1_000 },
        { labels: { service, quantile: '1' }, value: max / 1_000 },
      ]
    }),
  ]
  return () => {
    for (const stop of undo) stop()
    sources.loopDelay?.stop()
  }
}

function labelsOf(service: string, { peer, protocol, route }: PeerReading): Record<string, string> {
  return { service, peer, ...(protocol !== undefined && { protocol }), ...(route !== undefined && { route }) }
}
