/** The attributes of one series of calls in OpenTelemetry metrics, made once for each status. */
import type { Call } from '../core/call.ts'
import type { Outcome } from '../core/outcome.ts'
import { grpcStatusName } from '../core/status.ts'
import { errorType } from './error-type.ts'
import * as names from './semantic-conventions.ts'

/** Peers choose statuses; what comes later is made for each call. */
const MOST_KEPT = 64

/** Attributes of the OpenTelemetry API, which is an optional peer: public types lead here. */
type Attributes = Record<string, string | number>

/** The values of the labels; without a route, the last is empty. */
type Identity = readonly [service: string, peer: string, method: string, route: string]

export class CallAttributes {
  readonly #isClient: boolean
  readonly #identity: Identity
  /** By status, negative for gRPC, or by code. */
  readonly #kept = new Map<number | string, Attributes>()

  constructor(isClient: boolean, identity: Identity) {
    this.#isClient = isClient
    this.#identity = identity
  }

  of(call: Call, outcome: Outcome): Attributes {
    const isGrpc = call.kind.protocol === 'grpc'
    const status = call.status || outcome.status || 0
    const isGood = outcome.verdict === 'success'
    if (!isGood && !isGrpc && status > 0) {
      const reason = errorType(call, outcome, status)
      // It began well and broke off, which is rare.
      if (reason !== String(status)) return { ...this.#http(status, true), [names.ERROR_TYPE]: reason }
    }
    const reason = isGood || status > 0 ? status : (outcome.code ?? outcome.verdict)
    const key = isGood || typeof reason === 'string' ? reason : -reason
    const known = this.#kept.get(key)
    if (known !== undefined) return known
    const attributes = isGrpc ? this.#rpc(reason, isGood) : this.#http(reason, isGood)
    if (this.#kept.size < MOST_KEPT) this.#kept.set(key, attributes)
    return attributes
  }

  #http(reason: number | string, isGood: boolean): Attributes {
    const attributes = this.#peer()
    attributes[names.HTTP_REQUEST_METHOD] = this.#identity[2]
    if (typeof reason === 'number' && reason > 0) attributes[names.HTTP_RESPONSE_STATUS_CODE] = reason
    if (!isGood) attributes[names.ERROR_TYPE] = String(reason)
    return attributes
  }

  #rpc(reason: number | string, isGood: boolean): Attributes {
    const attributes = this.#peer()
    attributes[names.RPC_SYSTEM_NAME] = 'grpc'
    attributes[names.RPC_METHOD] = names.rpcMethod(this.#identity[2])
    const status = typeof reason === 'number' ? grpcStatusName(reason) : undefined
    if (status !== undefined) attributes[names.RPC_STATUS_CODE] = status
    if (!isGood) attributes[names.ERROR_TYPE] = status ?? String(reason)
    return attributes
  }

  #peer(): Attributes {
    const [, peer, , route] = this.#identity
    // The name that the caller used: each endpoint would be another series. No attribute says what
    // another one says, because the SDK joins all of them for each call.
    const attributes: Attributes = { [this.#isClient ? names.SERVER_ADDRESS : names.SERVICE_PEER_NAME]: peer }
    if (route !== '') attributes[names.ROUTE] = route
    return attributes
  }
}
