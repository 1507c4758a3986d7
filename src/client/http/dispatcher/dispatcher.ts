/**
 * The mesh as an undici dispatcher, for code that uses undici or the built-in `fetch`. Hosts that
 * end in `.mesh`, and those that are listed, go through the mesh, all others as before.
 */
import type { EventEmitter } from 'node:events'
import type { Dispatcher } from 'undici'
import type { FindService } from '../../selection.ts'
import type { Transport } from '../../transport.ts'
import type { RequestPool } from '../connection-user.ts'
import { checkDispatcherOptions } from '../options.ts'
import { findHosts, type ServiceHosts } from '../service-hosts.ts'
import { undici } from '../undici.ts'
import { DispatchCall, type DispatchCallHost } from './call.ts'
import { isLegacy, LegacyAdapter } from './legacy-handler.ts'
import { prepareDispatch } from './request.ts'

/**
 * An undici `Dispatcher`; the application needs undici itself only to hand it to
 * `setGlobalDispatcher`.
 */
export type MeshDispatcher = Dispatcher

export interface MeshDispatcherOptions {
  /** Hosts that are services besides `*.mesh`. @defaultValue none */
  readonly services?: ServiceHosts | undefined
  /**
   * For all other hosts. Not closed by us. @defaultValue a separate `Agent`, created when
   * first needed
   */
  readonly fallback?: Dispatcher
}

/** The events of a dispatcher about its connections. */
const EVENTS = ['connect', 'disconnect', 'connectionError', 'drain'] as const

/**
 * Needs undici, so it can be called once the mesh is joined. Its state is in variables, because
 * `compose` makes a proxy, and a method called on a proxy sees no private fields.
 */
export function makeDispatcher(
  find: FindService<Transport<RequestPool>>,
  options: MeshDispatcherOptions = {},
): Dispatcher {
  checkDispatcherOptions(options)
  const { Agent, Dispatcher: Base, errors } = undici()
  const findHost = findHosts(find, options?.services)
  const running = new Set<DispatchCall>()
  const forwards: [event: string, listener: (...args: unknown[]) => void][] = []
  let fallback = options?.fallback
  let own: Dispatcher | undefined
  let closing: Promise<void> | undefined
  let destroying: Promise<void> | undefined
  let idle: (() => void) | undefined

  // undici's types know no other events than its own.
  const emit = (event: string, ...args: unknown[]): boolean => (dispatcher as EventEmitter).emit(event, ...args)

  const keeper: DispatchCallHost = {
    ended(exchange) {
      running.delete(exchange)
      if (running.size === 0) idle?.()
    },
    threw(error) {
      if ((dispatcher as EventEmitter).listenerCount('error') > 0) emit('error', error)
      else process.emitWarning(`a dispatch handler threw in onResponseError: ${String(error)}`, 'InmeshWarning')
    },
  }

  class ServiceDispatcher extends Base {
    get closed(): boolean {
      return closing !== undefined
    }

    get destroyed(): boolean {
      return destroying !== undefined
    }

    override dispatch(request: Dispatcher.DispatchOptions, given: Dispatcher.DispatchHandler): boolean {
      const handler = checkHandler(given)
      let exchange: DispatchCall
      try {
        if (typeof request !== 'object' || request === null) {
          throw new errors.InvalidArgumentError('opts must be an object.')
        }
        if ((request as { dispatcher?: unknown }).dispatcher) {
          throw new errors.InvalidArgumentError('opts.dispatcher is not supported by instance methods.')
        }
        if (destroying !== undefined) throw new errors.ClientDestroyedError()
        if (closing !== undefined) throw new errors.ClientClosedError()
        const source = findHost(hostOf(request.origin))
        if (source === undefined) return leave(request, given, handler)
        checkOrigin(request.origin)
        const dispatched = prepareDispatch(request)
        dispatched.prepared.origin = request.origin
        checkAnswers(handler, dispatched.prepared.upgrade !== undefined)
        exchange = new DispatchCall(source, dispatched, handler, keeper)
      } catch (error) {
        handler.onResponseError?.(null as unknown as Dispatcher.DispatchController, error as Error)
        return false
      }
      running.add(exchange)
      exchange.start()
      return true
    }

    /** Accepts no more dispatches and resolves when those in flight have ended. */
    override close(callback?: (...args: unknown[]) => void): Promise<void> & void {
      checkCallback(callback)
      if (destroying !== undefined && closing === undefined) {
        return notify(Promise.reject(new errors.ClientDestroyedError()), callback)
      }
      closing ??= close()
      return notify(closing, callback)
    }

    /** Fails the dispatches in flight at once. Calls of other doors continue. */
    override destroy(...args: unknown[]): Promise<void> & void {
      const error = typeof args[0] === 'function' ? undefined : (args[0] as Error | null | undefined)
      const callback = typeof args[0] === 'function' ? args[0] : args[1]
      checkCallback(callback)
      destroying ??= destroy(error ?? new errors.ClientDestroyedError())
      return notify(destroying, callback)
    }
  }

  function leave(
    request: Dispatcher.DispatchOptions,
    given: Dispatcher.DispatchHandler,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    if (fallback === undefined) {
      own = new Agent()
      fallback = own
    }
    if (forwards.length === 0) forward(fallback)
    // Another generation of undici knows its own handlers, ours knows only the new ones.
    const ours = (fallback as object) instanceof Base
    if (!ours || given === handler) return fallback.dispatch(request, given)
    // As undici's own adapter: old handlers know nothing of HTTP/2.
    const plain = { ...request, allowH2: false }
    return fallback.dispatch(plain, handler)
  }

  /**
   * If the fallback reports back-pressure, its caller waits for `drain` on this dispatcher.
   */
  function forward(from: Dispatcher): void {
    for (const event of EVENTS) {
      const listener = (...args: unknown[]): void => void emit(event, ...args)
      forwards.push([event, listener])
      from.on?.(event as 'drain', listener)
    }
  }

  async function close(): Promise<void> {
    if (running.size > 0) {
      await new Promise<void>((resolve) => {
        idle = resolve
      })
    }
    await own?.close()
    stopForwarding()
  }

  async function destroy(error: Error): Promise<void> {
    for (const exchange of [...running]) exchange.destroy(error)
    await own?.destroy(error)
    stopForwarding()
  }

  function stopForwarding(): void {
    for (const [event, listener] of forwards.splice(0)) fallback?.off?.(event as 'drain', listener)
  }

  const dispatcher = new ServiceDispatcher()
  return dispatcher
}

/**
 * A handler of undici 8, or an adapter for an older one.
 * @throws undici's InvalidArgumentError if it is neither
 */
function checkHandler(handler: unknown): Dispatcher.DispatchHandler {
  const { InvalidArgumentError } = undici().errors
  if (typeof handler !== 'object' || handler === null) throw new InvalidArgumentError('handler must be an object')
  if (isLegacy(handler)) return new LegacyAdapter(handler)
  const given = handler as Dispatcher.DispatchHandler
  for (const method of ['onResponseError', 'onRequestStart'] as const) {
    if (typeof given[method] !== 'function') throw new InvalidArgumentError(`invalid ${method} method`)
  }
  return given
}

/** A handler of upgrades need not take answers. */
function checkAnswers(handler: Dispatcher.DispatchHandler, upgrade: boolean): void {
  const asked = upgrade
    ? (['onRequestUpgrade'] as const)
    : (['onResponseStart', 'onResponseData', 'onResponseEnd'] as const)
  for (const method of asked) {
    if (typeof handler[method] === 'function') continue
    throw new (undici().errors.InvalidArgumentError)(`invalid ${method} method`)
  }
}

function checkCallback(callback: unknown): asserts callback is ((...args: unknown[]) => void) | undefined {
  if (callback === undefined || typeof callback === 'function') return
  throw new (undici().errors.InvalidArgumentError)('invalid callback')
}

/** As undici tells: with a callback, nothing is returned. */
function notify(ending: Promise<void>, callback: ((...args: unknown[]) => void) | undefined): Promise<void> & void {
  if (callback === undefined) return ending as Promise<void> & void
  ending.then(
    () => queueMicrotask(() => callback(null, null)),
    (error) => queueMicrotask(() => callback(error, null)),
  )
  return undefined as unknown as Promise<void> & void
}

function hostOf(origin: string | URL | undefined): string {
  if (origin === undefined || origin === null || origin === '') return ''
  return urlOf(origin).hostname ?? ''
}

function urlOf(origin: string | URL): URL {
  return typeof origin === 'string' ? new URL(origin) : origin
}

/** Of a request to a service. */
function checkOrigin(origin: string | URL | undefined): void {
  const url = urlOf(origin!)
  const { InvalidArgumentError } = undici().errors
  if ((url.protocol !== 'http:' && url.protocol !== 'https:') || url.username || url.password) {
    throw new InvalidArgumentError('origin: expected http or https, without credentials')
  }
  // It would not be sent: the path is a separate option.
  if ((url.pathname ?? '/') !== '/' || url.search || url.hash) {
    throw new InvalidArgumentError('origin: expected no path, query or fragment')
  }
}
