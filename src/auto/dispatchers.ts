/**
 * Requests of the built-in `fetch` and of every copy of undici, through the global dispatcher of
 * each. Its method `dispatch` is replaced in place, so that it stays the object that it was.
 */
import type { Mesh } from '../mesh/mesh.ts'
import type { AutoHost } from './auto-host.ts'
import type { ModulePatch } from './loaded-modules.ts'

interface DispatchOptions {
  readonly origin?: string | URL
}

/** Of undici 6 and earlier, or of 7 and later. */
interface DispatchHandler {
  onError?(error: Error): void
  onResponseError?(controller: unknown, error: Error): void
}

interface AnyDispatcher {
  dispatch(options: DispatchOptions, handler: DispatchHandler): boolean
  /** Of undici's `MockAgent`: a test answers in place of the network. */
  readonly isMockActive?: boolean
}

type SetDispatcher = (dispatcher: AnyDispatcher) => unknown

/** Where the versions of undici keep their global dispatcher. */
const GLOBALS = ['undici.globalDispatcher.2', 'undici.globalDispatcher.1'].map((name) => Symbol.for(name))
/** Parsed origins that are kept. */
const MOST_ORIGINS = 256

export class Dispatchers {
  readonly #host: AutoHost
  readonly #patched = new WeakSet<object>()
  /** Hosts by origin: parsing takes longer than all else here. */
  readonly #hosts = new Map<string, string>()
  #mesh: { readonly of: Mesh; readonly dispatcher: AnyDispatcher } | undefined

  constructor(host: AutoHost) {
    this.#host = host
  }

  /** Of the built-in clients, which load undici when they are first used. */
  install(): void {
    const { fetch } = globalThis
    const named = {
      fetch: (...given: Parameters<typeof fetch>): Promise<Response> => {
        // Loads undici, which makes its dispatcher.
        if (GLOBALS.every((key) => this.#global(key) === undefined)) void globalThis.Headers
        this.patchGlobals()
        return fetch(...given)
      },
    }
    const { length } = fetch
    Object.defineProperty(named.fetch, 'length', { value: length, configurable: true })
    Object.defineProperty(globalThis, 'fetch', {
      ...Object.getOwnPropertyDescriptor(globalThis, 'fetch'),
      value: named.fetch,
    })
    for (const name of ['WebSocket', 'EventSource']) this.#patchOnRead(name)
  }

  /** For the application's copies of undici. */
  readonly patches: readonly ModulePatch[] = [
    {
      file: 'undici/lib/global.js',
      name: 'setGlobalDispatcher',
      patch: (exports) => {
        this.patchGlobals()
        const { setGlobalDispatcher } = exports as { setGlobalDispatcher: SetDispatcher }
        const named = {
          setGlobalDispatcher: (dispatcher: AnyDispatcher): unknown => {
            const result = setGlobalDispatcher(dispatcher)
            this.patchGlobals()
            return result
          },
        }
        exports.setGlobalDispatcher = named.setGlobalDispatcher
      },
    },
  ]

  patchGlobals(): void {
    for (const key of GLOBALS) {
      const dispatcher = this.#global(key)
      if (dispatcher !== undefined && !this.#patched.has(dispatcher)) this.#patch(dispatcher)
    }
  }

  #global(key: symbol): AnyDispatcher | undefined {
    return (globalThis as unknown as Record<symbol, AnyDispatcher | undefined>)[key]
  }

  #patchOnRead(name: string): void {
    const descriptor = Object.getOwnPropertyDescriptor(globalThis, name)
    const get = descriptor?.get
    if (descriptor === undefined || get === undefined) return
    const read = (): unknown => {
      const value = get.call(globalThis)
      this.patchGlobals()
      return value
    }
    Object.defineProperty(globalThis, name, { ...descriptor, get: read })
  }

  #patch(dispatcher: AnyDispatcher): void {
    this.#patched.add(dispatcher)
    const { dispatch } = dispatcher
    const patched = (options: DispatchOptions, handler: DispatchHandler): boolean => {
      const host = this.#hostOf(options)
      if (host === undefined || dispatcher.isMockActive === true) return dispatch.call(dispatcher, options, handler)
      const service = this.#host.services.find(host)
      if (service === undefined) {
        this.#host.report.passed(host, 'fetch')
        return dispatch.call(dispatcher, options, handler)
      }
      const meshed = this.#meshed()
      if (typeof service === 'string' && meshed !== undefined) {
        this.#host.report.called(service, 'fetch')
        return meshed.dispatch(toService(options, service), handler)
      }
      const otherwise = (): void => {
        this.#host.report.passed(host, 'fetch')
        dispatch.call(dispatcher, options, handler)
      }
      this.#later(service, options, handler, otherwise).catch((error: Error) => fail(handler, error))
      return true
    }
    Object.defineProperty(dispatcher, 'dispatch', { value: patched, writable: true, configurable: true })
  }

  /** Once the mesh is joined, and it is known whether the host is a service. */
  async #later(
    found: string | Promise<string | undefined>,
    options: DispatchOptions,
    handler: DispatchHandler,
    otherwise: () => void,
  ): Promise<void> {
    const service = await found
    if (service === undefined) {
      otherwise()
      return
    }
    await this.#host.mesh.join()
    this.#host.report.called(service, 'fetch')
    this.#meshed()!.dispatch(toService(options, service), handler)
  }

  #meshed(): AnyDispatcher | undefined {
    const { current } = this.#host.mesh
    if (current === undefined) return undefined
    if (this.#mesh?.of !== current) {
      this.#mesh = { of: current, dispatcher: current.dispatcher() as unknown as AnyDispatcher }
    }
    return this.#mesh.dispatcher
  }

  #hostOf({ origin }: DispatchOptions): string | undefined {
    if (typeof origin !== 'string') return origin?.hostname
    let host = this.#hosts.get(origin)
    if (host === undefined) {
      if (!URL.canParse(origin)) return undefined
      host = new URL(origin).hostname
      if (this.#hosts.size >= MOST_ORIGINS) this.#hosts.clear()
      this.#hosts.set(origin, host)
    }
    return host
  }
}

/** Its port says nothing: the registry knows those of the instances. */
function toService(options: DispatchOptions, service: string): DispatchOptions {
  return { ...options, origin: `http://${service}.mesh` }
}

function fail(handler: DispatchHandler, error: Error): void {
  if (handler.onResponseError !== undefined) handler.onResponseError(null, error)
  else handler.onError?.(error)
}
