/**
 * What all rooms of one mesh share: made once when a process joins, before there is an identity or
 * a registry.
 */
import { loadGrpc } from '../client/grpc/grpc-js.ts'
import { GrpcTransport } from '../client/grpc/transport.ts'
import { HttpTransport } from '../client/http/transport.ts'
import { TcpTransport } from '../client/tcp/transport.ts'
import type { Endpoint } from '../core/endpoint.ts'
import { RegistryAddresses } from '../discovery/registry/addresses.ts'
import type { KeyStore } from '../identity/key-store.ts'
import { OverrideProofs } from '../identity/override-proofs.ts'
import { PeerVerifier, type RefusedPeer } from '../identity/peer-verifier.ts'
import { PendingIdentity } from '../identity/pending-identity.ts'
import { LocalDirectory } from '../net/local-directory.ts'
import { kindOfAddress } from '../net/network-address.ts'
import { AccessLog } from '../telemetry/access-log/access-log.ts'
import { type CallTelemetry, createTelemetry } from '../telemetry/call-telemetry.ts'
import { EventMetrics } from '../telemetry/event-metrics.ts'
import { type EventSink, Events } from '../telemetry/events.ts'
import { MeterExport } from '../telemetry/meter-export.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { Taps } from '../telemetry/tap/taps.ts'
import { TcpMetrics } from '../telemetry/tcp-metrics.ts'
import { loadTracingApi } from '../telemetry/tracing.ts'
import { TrafficCounts } from '../telemetry/traffic/traffic-counts.ts'
import { TrafficMarks } from '../telemetry/traffic/traffic-marks.ts'
import type { MeshSettings } from './options.ts'
import { RegistryAbsence } from './registry-absence.ts'
import { openStateStore } from './state-store.ts'

export interface MeshContext {
  readonly settings: MeshSettings
  readonly store: KeyStore
  /** Of the registry. */
  readonly addresses: RegistryAddresses
  readonly registryAbsence: RegistryAbsence
  readonly identity: PendingIdentity
  readonly verifier: PeerVerifier
  readonly overrideProofs: OverrideProofs
  /** Of Unix sockets; `undefined`: none are used. */
  readonly localDirectory: LocalDirectory | undefined
  readonly transport: HttpTransport
  /**
   * Made with the first gRPC client. @throws OptionsError if the application has no grpc-js, or an
   * old one
   */
  readonly grpc: () => GrpcTransport
  readonly closeGrpc: () => void
  readonly tcp: TcpTransport
  /** Of TCP connections that we accept. */
  readonly tcpServer: TcpMetrics
  readonly metrics: Metrics
  /** Calls of both sides, for the registry. */
  readonly traffic: TrafficCounts
  /** Calls of both sides, for operators who watch. */
  readonly taps: Taps
  /** `undefined`: the application has no OpenTelemetry API. */
  readonly meters: MeterExport | undefined
  /** The last events; parts tell theirs to `events`. */
  readonly recent: Events
  readonly events: EventSink
  readonly client: CallTelemetry
  readonly server: CallTelemetry
  /** `undefined`: the application gave no logger. */
  readonly accessLog: AccessLog | undefined
}

export async function createMeshContext(settings: MeshSettings): Promise<MeshContext> {
  const { clock, service } = settings
  const [store, tracingApi] = await Promise.all([openStateStore(settings), loadTracingApi()])
  const identity = new PendingIdentity()
  const verifier = new PeerVerifier(clock, { trustDomain: '', roots: [], sequence: -1 })
  identity.onRotate((next) => verifier.setTrust(next))
  const overrideProofs = new OverrideProofs(identity, verifier, clock)
  const metrics = new Metrics(service)
  const meters = tracingApi && new MeterExport(tracingApi, clock, () => metrics.readings())
  metrics.exporter = meters
  const recent = new Events(service, clock, metrics)
  const traffic = new TrafficCounts({ version: settings.version, zone: settings.zone })
  const events = new TrafficMarks(traffic, clock, new EventMetrics(service, metrics, recent))
  const taps = new Taps(service, clock, events)
  const accessLog =
    settings.accessLog === undefined ? undefined : new AccessLog(settings.accessLog, service, metrics, clock)
  const telemetry = (side: 'client' | 'server'): CallTelemetry =>
    createTelemetry({ side, service, metrics, clock, tracingApi, traffic, taps, accessLog: accessLog?.[side] })
  const client = telemetry('client')
  const localDirectory = settings.sameHost ? LocalDirectory.open() : undefined
  const connecting = {
    clock,
    localDirectory,
    preference: settings.transport,
    identity: { source: identity, verifier },
    loopbackAllowed: settings.registry.every((address) => kindOfAddress(new URL(address).hostname) === 'loopback'),
    onPeerRefused: ({ reason }: RefusedPeer, endpoint: Endpoint) =>
      events.emit('peer:refused', { side: 'client', reason, peer: endpoint.service, address: endpoint.label }),
    onRefusedByPeer: (reason: string, endpoint: Endpoint) =>
      events.emit('peer:refused', {
        side: 'client',
        reason,
        ours: true,
        peer: endpoint.service,
        address: endpoint.label,
      }),
  }
  const transport = await HttpTransport.create({
    ...connecting,
    suppressed: tracingApi === undefined ? undefined : (dispatch) => client.suppressed(dispatch),
  })
  let made: GrpcTransport | undefined
  const grpc = (): GrpcTransport => {
    made ??= new GrpcTransport({ grpc: loadGrpc('mesh.grpc'), ...connecting })
    return made
  }
  const server = telemetry('server')
  const tcp = new TcpTransport({ ...connecting, metrics: new TcpMetrics(metrics, 'client', service) })
  const tcpServer = new TcpMetrics(metrics, 'server', service)
  const closeGrpc = (): void => made?.close(0)
  const addresses = new RegistryAddresses(settings.registry, clock)
  const registryAbsence = new RegistryAbsence(clock, settings.registry)
  return {
    settings,
    store,
    addresses,
    registryAbsence,
    localDirectory,
    identity,
    verifier,
    overrideProofs,
    transport,
    grpc,
    closeGrpc,
    tcp,
    tcpServer,
    metrics,
    traffic,
    taps,
    meters,
    recent,
    events,
    client,
    server,
    accessLog,
  }
}
