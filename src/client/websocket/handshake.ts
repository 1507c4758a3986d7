/**
 * The handshake of one WebSocket. undici drives it as a dispatcher, and does not tell its user why
 * it failed.
 */
import type { Dispatcher } from 'undici'
import type { HttpService } from '../http/call.ts'
import { DispatchCall, type DispatchCallHost } from '../http/dispatcher/call.ts'
import { prepareDispatch } from '../http/dispatcher/request.ts'
import type { UpgradedSocket } from '../http/upgrade/socket.ts'
import type { WebSocketSettings } from './options.ts'

const HOST: DispatchCallHost = {
  ended() {},
  threw(error) {
    process.emitWarning(`the engine of a WebSocket failed: ${String(error)}`, 'InmeshWarning')
  },
}

export class Handshake {
  readonly name: string
  readonly #service: HttpService
  readonly #settings: WebSocketSettings
  readonly #path: string
  #failure: unknown = undefined
  #socket: UpgradedSocket | undefined = undefined

  /** `path`: with its query, as it is sent. */
  constructor(service: HttpService, settings: WebSocketSettings, path: string) {
    this.name = service.service
    this.#service = service
    this.#settings = settings
    this.#path = path
  }

  /** What undici asks of a dispatcher. */
  get dispatcher(): Dispatcher {
    const engine = {
      webSocketOptions: { maxPayloadSize: this.#settings.maxPayload },
      dispatch: (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean =>
        this.#dispatch(options, handler),
    }
    return engine as unknown as Dispatcher
  }

  /** Why there is no WebSocket, or why it broke off. */
  get failure(): unknown {
    return this.#failure ?? this.#socket?.failure
  }

  #dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const { timeout, key, retry, idempotent, signal } = this.#settings
    // Fetch asks a second time after a 401.
    if (this.#failure !== undefined) throw this.#failure
    try {
      const prepared = prepareDispatch({ ...options, path: this.#path })
      const request = { ...prepared, timeout, key, retry, idempotent, signal }
      new DispatchCall(this.#service, request, this.#observed(handler), HOST).start()
    } catch (error) {
      this.#failure = error
      throw error
    }
    return true
  }

  #observed(handler: Dispatcher.DispatchHandler): Dispatcher.DispatchHandler {
    return {
      onRequestStart: (controller, context) => handler.onRequestStart?.(controller, context),
      onRequestUpgrade: (controller, status, headers, socket) => {
        this.#socket = socket as UpgradedSocket
        handler.onRequestUpgrade?.(controller, status, headers, socket)
      },
      onResponseStart: (controller, status, headers, statusText) => {
        if (status >= 200) this.#failure = this.#refused(status, statusText)
        handler.onResponseStart?.(controller, status, headers, statusText)
      },
      onResponseData: (controller, chunk) => handler.onResponseData?.(controller, chunk),
      onResponseEnd: (controller, trailers) => handler.onResponseEnd?.(controller, trailers),
      onResponseError: (controller, error) => {
        this.#failure ??= error
        handler.onResponseError?.(controller, error)
      },
    }
  }

  /** The service itself refused: the error names its status. */
  #refused(status: number, statusText: string | undefined): Error {
    const said = statusText ? `${status} ${statusText}` : String(status)
    return Object.assign(new TypeError(`'${this.name}' answered the WebSocket handshake with ${said}`), { status })
  }
}
