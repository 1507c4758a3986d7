/**
 * Stands in front of one interceptor of a gRPC call, or of the call below the last one. What the
 * interceptor throws, or its promises reject with, ends the call once: with INTERNAL for those in
 * front, and cancelled for those below.
 *
 * made -> started: the one in front has given its listener
 * made, started -> over: a status came, or the interceptor failed; nothing passes any more
 */
import { AsyncResource } from 'node:async_hooks'
import type * as grpc from '@grpc/grpc-js'
import type { Clock } from '../../../core/clock.ts'
import { MeshError, messageOf } from '../../../core/errors.ts'
import { GRPC_STATUS } from '../../../core/status.ts'
import { show } from '../../../options/fields.ts'
import { runUserCode } from '../caller.ts'
import type { MessageContext } from '../grpc-js.ts'
import { GrpcCallSettings } from '../promises/call-settings.ts'
import { GrpcWrite } from '../write-callback.ts'
import { watchListener, watchRequester } from './promises.ts'

/** What the errors of one client need. */
export interface InterceptorHost {
  readonly service: string
  readonly clock: Clock
  readonly Metadata: new () => grpc.Metadata
}

export type InterceptedCall = ReturnType<grpc.NextCall>
type Listener = grpc.InterceptingListener

export class InterceptorGuard extends AsyncResource implements InterceptedCall, Listener {
  readonly #host: InterceptorHost
  readonly #options: grpc.InterceptorOptions
  readonly #startedAt: number
  /**
   * The interceptor whose call this is; `undefined` before the first, whose listener is the
   * client's own.
   */
  #owner: InterceptorGuard | undefined = undefined
  #inner: InterceptedCall | undefined = undefined
  /** Calls that the interceptor has made. */
  readonly #below: InterceptorGuard[] = []
  /** With which one of them was refused before it was made, such as an invalid deadline. */
  #refusal: { readonly error: unknown } | undefined = undefined
  #listener: Partial<Listener> | undefined = undefined
  #write: GrpcWrite | undefined = undefined
  #started = false
  #over = false
  #failure: grpc.StatusObject | undefined = undefined

  constructor(host: InterceptorHost, options: grpc.InterceptorOptions) {
    super('inmesh.grpc.interceptor')
    this.#host = host
    this.#options = options
    this.#startedAt = host.clock.now()
  }

  /** Lets `interceptor` make its call. @throws what grpc-js or the mesh refused it with */
  intercept(interceptor: grpc.Interceptor, options: grpc.InterceptorOptions, nextCall: grpc.NextCall): void {
    try {
      const call: unknown = interceptor(options, (changed) => this.#next(nextCall, changed))
      if (typeof (call as Partial<InterceptedCall> | null)?.start === 'function') {
        this.#inner = call as InterceptedCall
        watchRequester(this.#inner, this)
        return
      }
      void Promise.resolve(call).catch(() => {})
      this.fail(new TypeError('it returned no InterceptingCall'))
    } catch (error) {
      if (this.#refusal !== undefined && this.#refusal.error === error) throw error
      this.fail(error)
    }
  }

  #next(nextCall: grpc.NextCall, options: grpc.InterceptorOptions): InterceptedCall {
    try {
      const made = nextCall(options)
      const below = made instanceof InterceptorGuard ? made : new InterceptorGuard(this.#host, options)
      if (below !== made) below.#inner = made
      below.#owner = this
      this.#below.push(below)
      return below
    } catch (error) {
      this.#refusal = { error }
      throw error
    }
  }

  /** Ends the call because of `error`, unless it has ended. */
  fail(error: unknown): void {
    const { path } = this.#options.method_definition
    const { service, clock, Metadata } = this.#host
    const what = `an interceptor of ${path} to '${service}' failed: ${messageOf(error) ?? show(error)}`
    if (this.#over) {
      process.emitWarning(`${what}, after its call had ended`, { type: 'InmeshWarning' })
      return
    }
    this.#over = true
    const flags: unknown = this.#options.propagate_flags
    for (const below of this.#below) below.#abandon(what)
    const sent = flags instanceof GrpcCallSettings ? flags.sent : this.#below.some((each) => each.#started)
    const elapsedMs = clock.now() - this.#startedAt
    const cause = new MeshError(what, { code: 'cancelled', service, method: path, elapsedMs, sent, cause: error })
    const status = { code: GRPC_STATUS.INTERNAL, details: what, metadata: new Metadata(), cause }
    this.#failure = status
    // Later: the client has not returned its call yet, or is within a write.
    if (this.#started) process.nextTick(tellFailure, this)
  }

  /** Its interceptor has failed, and hears no more of it. */
  #abandon(details: string): void {
    if (this.#over || !this.#started) return
    this.#listener = undefined
    this.cancelWithStatus(GRPC_STATUS.INTERNAL, details)
  }

  /** @internal */
  tellFailure(): void {
    this.#tell(() => this.#listener?.onReceiveStatus?.(this.#failure!))
    this.#write?.done()
  }

  /** Runs code of the one in front; `false`: it threw. */
  #tell(code: () => unknown): boolean {
    const owner = this.#owner
    if (owner === undefined) return runUserCode(this, code, undefined, undefined)
    try {
      owner.#watch(code())
      return true
    } catch (error) {
      owner.fail(error)
      return false
    }
  }

  /** Runs code of the interceptor. */
  #ask(code: (call: InterceptedCall) => unknown): void {
    if (this.#over || this.#inner === undefined) return
    try {
      this.#watch(code(this.#inner))
    } catch (error) {
      this.fail(error)
    }
  }

  #watch(returned: unknown): void {
    if (returned instanceof Promise) returned.catch((error: unknown) => this.fail(error))
  }

  // The call, for the one in front.

  start(metadata: grpc.Metadata, listener?: Partial<Listener>): void {
    this.#started = true
    this.#listener = listener
    if (this.#owner !== undefined) watchListener(listener, this.#owner)
    if (this.#failure === undefined) this.#ask((call) => call.start(metadata, this))
    else process.nextTick(tellFailure, this)
  }

  sendMessageWithContext(context: MessageContext, message: unknown): void {
    const { callback } = context
    if (callback === undefined) {
      this.#ask((call) => call.sendMessageWithContext(context, message))
      return
    }
    const write = new GrpcWrite(callback)
    this.#write = write
    if (this.#over) write.done()
    else this.#ask((call) => call.sendMessageWithContext({ ...context, callback: () => write.done() }, message))
  }

  sendMessage(message: unknown): void {
    this.#ask((call) => call.sendMessage(message))
  }

  halfClose(): void {
    this.#ask((call) => call.halfClose())
  }

  startRead(): void {
    this.#ask((call) => call.startRead())
  }

  cancelWithStatus(code: number, details: string): void {
    this.#ask((call) => call.cancelWithStatus(code, details))
  }

  getPeer(): string {
    return this.#inner?.getPeer() ?? 'unknown'
  }

  getAuthContext(): ReturnType<InterceptedCall['getAuthContext']> {
    return this.#inner?.getAuthContext() ?? null
  }

  // The listener, for the interceptor. grpc-js knows a listener by the one parameter of its
  // methods.

  onReceiveMetadata(metadata: grpc.Metadata): void {
    if (!this.#over) this.#tell(() => this.#listener?.onReceiveMetadata?.(metadata))
  }

  onReceiveMessage(message: unknown): void {
    if (this.#over) return
    // A reader that throws does not come to ask for the rest, and without it the call would not
    // end.
    if (!this.#tell(() => this.#listener?.onReceiveMessage?.(message))) this.startRead()
  }

  onReceiveStatus(status: grpc.StatusObject): void {
    if (this.#over) return
    if (typeof (status as Partial<grpc.StatusObject> | undefined)?.code !== 'number') {
      this.fail(new TypeError('it handed on no status'))
      return
    }
    this.#over = true
    this.#tell(() => this.#listener?.onReceiveStatus?.(status))
    this.#write?.done()
  }
}

function tellFailure(guard: InterceptorGuard): void {
  guard.tellFailure()
}
