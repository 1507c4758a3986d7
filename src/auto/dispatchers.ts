/**
 * Requests of the built-in `fetch` and of every copy of undici, through the global dispatcher of
 * each. Its method `dispatch` is replaced in place, so that it stays the object that it was.
 */
import type { AutoHost } from './auto-host.ts'
import type { ModulePatch } from './loaded-modules.ts'
import { ServiceCalls } from './service-calls.ts'

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
  readonly #calls: ServiceCalls<AnyDispatcher>
  readonly #patched = new WeakSet<object>()
  /** Hosts by origin: parsing takes longer than all else here. */
  readonly #hosts = new Map<string, string>()

  constructor(host: AutoHost) {
    this.#calls = new ServiceCalls(host, 'fetch', (mesh) => mesh.dispatcher() as unknown as AnyDispatcher)
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
      const pass = (): boolean => dispatch.call(dispatcher, options, handler)
      const host = this.#hostOf(options)
      if (host === undefined || dispatcher.isMockActive === true) return pass()
      return this.#calls.take(host, {
        send: (meshed, service) => meshed.dispatch(toService(options, service), handler),
        pass,
        fail: (error) => fail(handler, error),
        wait: () => true,
      })
    }
    Object.defineProperty(dispatcher, 'dispatch', { value: patched, writable: true, configurable: true })
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
