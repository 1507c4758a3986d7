/** What all calls of one method of one client share. */
import type { CallKind } from '../../core/call.ts'
import { isGrpcMethod } from '../../options/names.ts'
import type { Routed } from '../routed.ts'
import type { MethodDefinition, NamedMethods } from './method-names.ts'

export interface GrpcMethodParts {
  readonly service: string
  /** `/shop.Inventory/Get`. */
  readonly path: string
  /** `undefined`: the client's class does not have it. */
  readonly definition: MethodDefinition | undefined
  readonly names: NamedMethods
  /** Declared in code. */
  readonly idempotent: boolean
  /** A stream so short that its duration is a latency. */
  readonly shortStream: boolean
  /** Largest answer in bytes; larger ones fail. */
  readonly largestMessage: number
  /** The methods that the service's document calls idempotent. */
  readonly declared: readonly string[]
}

export class GrpcMethod {
  readonly path: string
  readonly kind: CallKind
  /** The request is one message. */
  readonly asksOnce: boolean
  /** The answer is one message. */
  readonly answersOnce: boolean
  readonly largestMessage: number
  readonly #parts: GrpcMethodParts
  readonly #routed = new WeakMap<Routed, CallKind>()

  constructor(parts: GrpcMethodParts) {
    const { path, definition, largestMessage, declared } = parts
    this.#parts = parts
    this.path = path
    this.asksOnce = definition?.requestStream === false
    // An unknown method may answer with a stream, which would never arrive if it were held back.
    this.answersOnce = definition?.responseStream === false
    this.largestMessage = largestMessage
    this.kind = this.#kindBy(declared)
  }

  /** The kind of calls that take a route, whose document may call other methods idempotent. */
  kindOf(routed: Routed | undefined): CallKind {
    if (routed === undefined) return this.kind
    let kind = this.#routed.get(routed)
    if (kind === undefined) {
      kind = this.#kindBy(routed.route?.policy.retry.idempotent ?? [])
      this.#routed.set(routed, kind)
    }
    return kind
  }

  #kindBy(declared: readonly string[]): CallKind {
    const { service, path, definition, idempotent, shortStream } = this.#parts
    const streaming = !this.answersOnce || definition?.requestStream === true
    const level = definition?.options?.idempotency_level
    return Object.freeze({
      service,
      method: path,
      protocol: 'grpc',
      streaming: streaming && !shortStream,
      idempotent:
        level === 'NO_SIDE_EFFECTS' || level === 'IDEMPOTENT' || idempotent || this.#isDeclared(declared, path),
    })
  }

  /** Documents may also use the client's name of a method. */
  #isDeclared(declared: readonly string[], path: string): boolean {
    if (isGrpcMethod(declared, path)) return true
    const prefix = path.slice(0, path.lastIndexOf('/') + 1)
    for (const [name, definition] of this.#parts.names) {
      if (definition.path === path && isGrpcMethod(declared, prefix + name)) return true
    }
    return false
  }
}
