/**
 * One instance's address as a client sees it, with the state that its owners keep about it. Every
 * attempt touches the slots, so they are plain fields instead of maps.
 */
import type { Protocol } from './protocol.ts'
import type { TransportName } from './transport.ts'

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
 * An instance's address and its description of itself. A new address is a new endpoint.
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
  /**
   * What its server offers, best first. `undefined`: not known, because a source or an older
   * version does not tell.
   */
  readonly transports?: readonly TransportName[] | undefined
  /** `undefined`: it has no Unix socket, or does not tell. */
  readonly local?: LocalAddress | undefined
}

/** The Unix socket of an instance, as processes of the same user on the same machine find it. */
export interface LocalAddress {
  /** Identifies machine and directory. */
  readonly machine: string
  /** The name of the socket within the directory. */
  readonly socket: string
}

/** The connections of an endpoint, kept by its transport and opened on first use. */
export interface EndpointTransport {
  /** Closes once calls in flight have finished, after `graceMs` at the latest. */
  close(graceMs: number): void
}

/**
 * `ejected`: out of the picker for a while. `probing`: out, except for one attempt that tests it.
 */
export type EndpointState = 'healthy' | 'ejected' | 'probing'

export class Endpoint {
  // What a pick looks at comes first, within few lines of the cache.
  /** Kept by ejection. */
  state: EndpointState = 'healthy'
  /** Attempts in flight, including streams. Kept by the execution. */
  pending = 0
  /** The oldest attempt in flight that is not open-ended. */
  oldest: InFlight | undefined = undefined
  /** What its server reported of its load. Kept by the balancer. */
  load: unknown = undefined
  /**
   * Latency estimate in ms and the instant of its last sample. Kept by the balancer; 0 without
   * samples.
   */
  estimateMs = 0
  estimatedAt = 0
  /**
   * Until when its last failure counts against it, and for how long. Kept by the balancer; ejection
   * ends it when it takes the endpoint back.
   */
  doubtedUntil = 0
  doubtedMs = 0
  /** Its index in the list of the picker that chose it last. Kept by pickers. */
  place = 0
  /** Begin and end of its slow start, as instants. Kept by discovery; 0: warm from the start. */
  warmAt = 0
  discoveredAt = 0
  /** True once discovery has withdrawn it: no new attempts, no new connections. */
  withdrawn = false
  /** The last conclusive attempt could not connect. */
  unreachable = false

  /** The youngest attempt in flight that is not open-ended. */
  newest: InFlight | undefined = undefined
  /** How many samples there were, and their sum in ms. */
  samples = 0
  samplesMs = 0
  /** How much its server can do, as it reports. Kept by the balancer. */
  capacity: unknown = undefined
  /** Its weight by that, relative to the mean; 1 if the balancer uses none. Kept by pickers. */
  share = 1
  /** Kept by ejection. */
  health: unknown = undefined

  readonly service: string
  readonly id: string
  readonly address: string
  readonly port: number
  readonly protocol: Protocol
  readonly tls: boolean
  readonly zone: string | undefined
  readonly version: string | undefined
  /** From discovery. All four may change during the endpoint's life. */
  metadata: Readonly<Record<string, string>>
  weight: number
  transports: readonly TransportName[] | undefined
  local: LocalAddress | undefined
  /** Instant until which its Unix socket is not tried again. Kept by transports. */
  localUntil = 0
  /** `host:port`, as errors and metrics name it. */
  readonly label: string
  /**
   * The key for consistent hashing: the metadata entry `hash-key`, or else the address. It survives
   * restarts.
   */
  readonly hashKey: string

  /** Kept by its transport, and made on first use. */
  transport: EndpointTransport | undefined = undefined
  /**
   * The same instance as mirrors see it: with connections and load apart from those of calls. Made
   * on first use.
   */
  shadow: Endpoint | undefined = undefined

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
    this.transports = at.transports
    this.local = at.local
    this.label = labelOf(at)
    this.hashKey = at.metadata['hash-key'] ?? this.label
  }
}

/** `host:port`, as errors, events and metrics name an endpoint. */
export function labelOf({ address, port }: { readonly address: string; readonly port: number }): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/**
 * Equal for all instances behind one listener, whatever their ids: one address is one endpoint.
 */
export function addressKey(at: { readonly address: string; readonly port: number; readonly protocol: string }): string {
  return `${at.protocol}://${labelOf(at).toLowerCase()}`
}

/** Endpoints that take calls. Weight 0 takes none, unless all weights are 0. */
export function withWeight(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  let without = 0
  for (const { weight } of endpoints) if (weight === 0) without += 1
  return without === 0 || without === endpoints.length ? endpoints : endpoints.filter(({ weight }) => weight > 0)
}
