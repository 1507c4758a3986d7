/**
 * A grpc-js channel over the endpoints of one service, given to generated clients as
 * `channelOverride`. Each call picks its endpoint; the channel itself never connects.
 */
import type * as grpc from '@grpc/grpc-js'
import { inboundCall } from '../../core/context.ts'
import { MeshError } from '../../core/errors.ts'
import { grpcStatusOf } from '../../core/status.ts'
import { OptionsError, show } from '../../options/fields.ts'
import type { Destination } from '../destination.ts'
import { GrpcCall } from './call.ts'
import type { GrpcJsCall } from './grpc-js.ts'
import { GrpcMethod } from './method.ts'
import type { MethodDefinition, NamedMethods } from './method-names.ts'
import { GrpcCallSettings, PROPAGATE_DEFAULTS } from './promises/call-settings.ts'
import { StateWatchers } from './state-watch.ts'
import type { GrpcTransport } from './transport.ts'
import { LARGEST_MESSAGE } from './transport-options.ts'

export interface MeshChannelOptions {
  /** By path. */
  readonly methods: ReadonlyMap<string, MethodDefinition>
  /** By every name that the client has for them. */
  readonly names: NamedMethods
  /** Whether the method of this path is declared idempotent in code. */
  readonly idempotent: (path: string) => boolean
  /** Whether a stream of this path is short enough to measure latency. */
  readonly shortStream: (path: string) => boolean
  readonly largestMessage?: number | undefined
}

/** Most paths kept; calls of others make their method each time. */
const MOST_METHODS = 4_096
/** Flags of grpc-js (`grpc.propagate`). */
const PROPAGATE_DEADLINE = 1
const PROPAGATE_CANCELLATION = 8

/** The public part of grpc-js's channel. */
type ChannelShape = Pick<grpc.Channel, keyof grpc.Channel>

export class MeshChannel implements ChannelShape {
  #destination: Destination<GrpcTransport>
  readonly #find: (service: string) => Destination<GrpcTransport>
  readonly #options: MeshChannelOptions
  readonly #methods = new Map<string, GrpcMethod>()
  /** The declared list from which the methods were made. */
  #declared: readonly string[] | undefined
  #watchers: StateWatchers
  #closed = false

  /**
   * `find` is asked again after the destination was forgotten, because a client may be kept without
   * a call for long.
   */
  constructor(
    destination: Destination<GrpcTransport>,
    options: MeshChannelOptions,
    find: (service: string) => Destination<GrpcTransport>,
  ) {
    this.#destination = destination
    this.#find = find
    this.#options = options
    this.#watchers = this.#watchersOf(destination)
    if (options.largestMessage !== undefined) {
      destination.transport.takeMessages(destination.service, options.largestMessage)
    }
  }

  createCall(
    path: string,
    deadline: grpc.Deadline,
    host: string | null | undefined,
    parentCall: grpc.ServerUnaryCall<unknown, unknown> | null,
    propagateFlags: number | null | undefined,
  ): GrpcJsCall {
    if (this.#closed) throw this.#shutDown(path)
    const destination = this.#live()
    const flags: unknown = propagateFlags
    const settings = flags instanceof GrpcCallSettings ? flags : undefined
    const given = this.#leftOf(deadline)
    const timeoutMs = settings === undefined ? given : Math.min(settings.leftMs(destination.clock.now()), given)
    const method = this.#method(path)
    const call = new GrpcCall(destination, method, host, timeoutMs, settings, inboundCall())
    if (parentCall !== null && parentCall !== undefined) {
      this.#inherit(call, parentCall, Number(propagateFlags ?? PROPAGATE_DEFAULTS))
    }
    return call
  }

  close(): void {
    this.#closed = true
    this.#watchers.check()
  }

  getTarget(): string {
    return `mesh:///${this.#destination.service}`
  }

  /** READY while there are endpoints. Calls find out whether they can be reached. */
  getConnectivityState(tryToConnect: boolean): grpc.connectivityState {
    const { connectivityState } = this.#destination.transport.grpc
    if (this.#closed || this.#destination.transport.closed) return connectivityState.SHUTDOWN
    return (tryToConnect ? this.#live() : this.#destination).ready
      ? connectivityState.READY
      : connectivityState.CONNECTING
  }

  watchConnectivityState(
    current: grpc.connectivityState,
    deadline: Date | number,
    callback: (error?: Error) => void,
  ): void {
    if (this.#closed || this.#destination.transport.closed) throw new Error('Channel has been shut down')
    this.#live().uses += 1
    this.#watchers.add(current, this.#leftOf(deadline), callback)
  }

  /** Channelz is off. */
  getChannelzRef(): ReturnType<grpc.Channel['getChannelzRef']> {
    return { kind: 'channel' as never, id: -1, name: this.getTarget() }
  }

  /** After the transport was closed there is no other: calls on the last one fail as closed. */
  #live(): Destination<GrpcTransport> {
    if (this.#destination.forgotten && !this.#destination.transport.closed) {
      this.#destination = this.#find(this.#destination.service)
      this.#watchers = this.#watchersOf(this.#destination)
    }
    return this.#destination
  }

  #watchersOf(destination: Destination<GrpcTransport>): StateWatchers {
    const subscribe = (listener: () => void): (() => void) => destination.onReady(listener)
    return new StateWatchers(destination.clock, subscribe, () => this.getConnectivityState(false))
  }

  /** Throws the failure of a call as grpc-js's channel does. */
  #shutDown(method: string): grpc.ServiceError {
    const { service, transport } = this.#destination
    const details = `${method} to '${service}' failed: the client was closed`
    const cause = new MeshError(details, { code: 'closed', service, method })
    const code = grpcStatusOf('closed')
    const metadata = new transport.grpc.Metadata()
    return Object.assign(new Error(`${code} UNAVAILABLE: ${details}`, { cause }), { code, details, metadata })
  }

  /** @throws OptionsError for anything but an instant */
  #leftOf(deadline: grpc.Deadline): number {
    const at = typeof deadline === 'number' ? deadline : deadline?.getTime?.()
    if (typeof at !== 'number' || Number.isNaN(at)) {
      const expected = 'expected a Date or milliseconds since 1970; Infinity for none'
      throw new OptionsError('grpc', [{ path: ['deadline'], message: `${expected}, got ${show(deadline)}` }])
    }
    return at === Number.POSITIVE_INFINITY ? at : at - this.#destination.clock.wallNow()
  }

  /**
   * Applies `parent: call`. A call made within a handler inherits without it.
   */
  #inherit(call: GrpcCall, parent: grpc.ServerUnaryCall<unknown, unknown>, flags: number): void {
    const leftMs = (flags & PROPAGATE_DEADLINE) === 0 ? Number.POSITIVE_INFINITY : this.#leftOf(parent.getDeadline())
    call.inherit(parent, leftMs, (flags & PROPAGATE_CANCELLATION) !== 0)
  }

  #method(path: string): GrpcMethod {
    const { idempotent } = this.#destination.settings.retry
    if (idempotent !== this.#declared) {
      // The document has changed.
      this.#declared = idempotent
      this.#methods.clear()
    }
    let method = this.#methods.get(path)
    if (method === undefined) {
      method = this.#makeMethod(path, idempotent)
      if (this.#methods.size < MOST_METHODS) this.#methods.set(path, method)
    }
    return method
  }

  #makeMethod(path: string, declared: readonly string[]): GrpcMethod {
    const { methods, names, idempotent, shortStream, largestMessage = LARGEST_MESSAGE } = this.#options
    return new GrpcMethod({
      service: this.#destination.service,
      path,
      definition: methods.get(path),
      names,
      idempotent: idempotent(path),
      shortStream: shortStream(path),
      largestMessage,
      declared,
    })
  }
}
