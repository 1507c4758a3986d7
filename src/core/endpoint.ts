/**
 * One instance's address as a client sees it, with the state that its owners keep about it. Every
 * attempt touches the slots, so they are plain fields instead of maps.
 */
import type { Protocol } from './protocol.ts'

/** A link of the list of attempts in flight on one endpoint. */
export interface InFlight {
  readonly startedAt: number
  /** The next younger and the next older attempt, kept by the execution. */
  newer: InFlight | undefined
  older: InFlight | undefined
  /** Ends it now, because its connection closes. Only transports that share connections need it. */
  cut?(cause: Error): void
}

/**
 * Where an instance is and what it says of itself. Fixed for its life; a change of address is
 * another endpoint.
 */
export interface EndpointAddress {
  /** Unique within the service. */
  readonly id: string
  readonly address: string
  readonly port: number
  readonly protocol: Protocol
  /** Whether it speaks mTLS with an identity of the mesh. */
  readonly tls: boolean
  readonly zone: string | undefined
  readonly version: string | undefined
  readonly weight: number
  readonly metadata: Readonly<Record<string, string>>
}

/** What a transport keeps for an endpoint: connections, made on first use. */
export interface EndpointTransport {
  /** Lets what runs finish, then closes; bounded by `graceMs`. */
  close(graceMs: number): void
}

/**
 * `ejected`: out of the picker for a while. `probing`: out, but for the one attempt that is finding
 * out.
 */
export type EndpointState = 'healthy' | 'ejected' | 'probing'

export class Endpoint {
  readonly service: string
  readonly id: string
  readonly address: string
  readonly port: number
  readonly protocol: Protocol
  readonly tls: boolean
  readonly zone: string | undefined
  readonly version: string | undefined
  readonly metadata: Readonly<Record<string, string>>
  /** From discovery; may change without making another endpoint. */
  weight: number
  /** From when until when it warms up, as instants; kept by discovery, 0 = warm from the start. */
  discoveredAt = 0
  warmAt = 0
  /** `host:port`, as errors and metrics name it. */
  readonly label: string
  /**
   * What consistent hashing goes by: the metadata entry `hash-key`, else the address. It outlives a
   * restart.
   */
  readonly hashKey: string

  /** Attempts in flight, streams included; kept by the execution. */
  pending = 0
  /** The ends of the list of attempts in flight, without open-ended ones. */
  oldest: InFlight | undefined = undefined
  newest: InFlight | undefined = undefined

  /** Latency estimate in ms and when it was last fed; kept by the balancer. 0 = never fed. */
  estimateMs = 0
  estimatedAt = 0

  /** Kept by ejection. */
  state: EndpointState = 'healthy'
  health: unknown = undefined
  /** The last attempt that says anything could not connect. */
  unreachable = false

  /** Kept by the client; made on first use. */
  transport: EndpointTransport | undefined = undefined
  /** True once discovery has withdrawn it: no new attempts, no new connections. */
  withdrawn = false

  constructor(service: string, at: EndpointAddress) {
    this.service = service
    this.id = at.id
    this.address = at.address
    this.port = at.port
    this.protocol = at.protocol
    this.tls = at.tls
    this.zone = at.zone
    this.version = at.version
    this.metadata = at.metadata
    this.weight = at.weight
    this.label = labelOf(at)
    this.hashKey = at.metadata['hash-key'] ?? this.label
  }
}

/** `host:port`, as errors, events and metrics name an endpoint. */
export function labelOf({ address, port }: { readonly address: string; readonly port: number }): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/**
 * The same for all instances behind one listener, whatever their ids: one address is one endpoint.
 */
export function addressKey(at: { readonly address: string; readonly port: number; readonly protocol: string }): string {
  return `${at.protocol}://${labelOf(at).toLowerCase()}`
}
