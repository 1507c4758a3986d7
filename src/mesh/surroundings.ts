/** What all rooms of one mesh share: made once when a process joins, before there is an identity or a registry. */
import { HttpTransport } from '../client/http-transport.ts'
import { KeyStore } from '../identity/key-store.ts'
import { LateIdentity } from '../identity/late-identity.ts'
import { PeerVerifier } from '../identity/peer-verifier.ts'
import { type CallTelemetry, createTelemetry } from '../telemetry/call-telemetry.ts'
import { EventMetrics } from '../telemetry/event-metrics.ts'
import { type EventSink, Events } from '../telemetry/events.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { loadTracingApi } from '../telemetry/tracing.ts'
import type { MeshSettings } from './options.ts'

export interface Surroundings {
  readonly settings: MeshSettings
  readonly store: KeyStore
  readonly identity: LateIdentity
  readonly verifier: PeerVerifier
  readonly transport: HttpTransport
  readonly metrics: Metrics
  /** The last events; parts tell theirs to `events`. */
  readonly recent: Events
  readonly events: EventSink
  readonly client: CallTelemetry
  readonly server: CallTelemetry
}

export async function surroundingsOf(settings: MeshSettings): Promise<Surroundings> {
  const { clock, service } = settings
  const directory = settings.stateDir === 'memory' ? undefined : settings.stateDir
  const [store, tracingApi] = await Promise.all([KeyStore.open({ directory, clock }), loadTracingApi()])
  const identity = new LateIdentity()
  const verifier = new PeerVerifier(clock, { trustDomain: '', roots: [], sequence: -1 })
  identity.onRotate((next) => verifier.setTrust(next))
  const metrics = new Metrics()
  const recent = new Events(service, clock, metrics)
  const events = new EventMetrics(service, metrics, recent)
  const telemetry = (side: 'client' | 'server'): CallTelemetry =>
    createTelemetry({ side, service, metrics, clock, tracingApi })
  const client = telemetry('client')
  const transport = await HttpTransport.create({
    clock,
    suppressed: tracingApi === undefined ? undefined : (dispatch) => client.suppressed(dispatch),
    identity: { source: identity, verifier },
    onPeerRefused: ({ reason }, endpoint) =>
      events.emit('peer:refused', { side: 'client', reason, peer: endpoint.service, address: endpoint.label }),
  })
  const server = telemetry('server')
  return { settings, store, identity, verifier, transport, metrics, recent, events, client, server }
}
