/**
 * `mesh.webSocket`: undici's WebSocket, whose handshake goes through the mesh. It tells why it
 * failed, and its listeners run where it was made.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { mistake } from '../call-options.ts'
import type { HttpService } from '../http/call.ts'
import { flattenHeaders } from '../http/headers.ts'
import { checkPath, withQuery } from '../http/prepare-request.ts'
import { undici } from '../http/undici.ts'
import { GuardedListeners } from './guarded-listeners.ts'
import { Handshake } from './handshake.ts'
import { resolveWebSocket, type WebSocketOptions } from './options.ts'

type ListenerOptions = Parameters<EventTarget['addEventListener']>[2]

/** Headers by which the engine agrees on the protocol. */
const OF_THE_HANDSHAKE = /^sec-websocket-(?:key|version|extensions|protocol|accept)$/

/**
 * @throws OptionsError naming the argument or option
 * @throws DOMException never: what a browser's constructor throws is an OptionsError here
 */
export function makeWebSocket(service: HttpService, path: string, options: WebSocketOptions | undefined): WebSocket {
  const settings = resolveWebSocket(options)
  const asked = checkPath(withQuery(checkPath(path), settings.query))
  const headers = pairs(flattenHeaders(settings.headers))
  const handshake = new Handshake(service, settings, asked)
  const { name } = handshake
  return new (meshWebSocket())(`ws://${name}${asked}`, headers, settings.protocols, handshake) as unknown as WebSocket
}

type MeshWebSocket = new (url: string, headers: [string, string][], protocols: string[], handshake: Handshake) => object

let made: MeshWebSocket | undefined

/** The class is made on first use, because undici is loaded on first use. */
function meshWebSocket(): MeshWebSocket {
  if (made !== undefined) return made
  const { WebSocket: Engine, ErrorEvent } = undici()

  made = class WebSocket extends Engine {
    readonly #handshake: Handshake
    readonly #listeners: GuardedListeners
    readonly #inContext = AsyncLocalStorage.snapshot()

    constructor(url: string, headers: [string, string][], protocols: string[], handshake: Handshake) {
      super(url, { headers, protocols, dispatcher: handshake.dispatcher })
      this.#handshake = handshake
      this.#listeners = new GuardedListeners(handshake.name)
    }

    override addEventListener(type: string, listener: unknown, options?: ListenerOptions): void {
      super.addEventListener(type as 'open', this.#listeners.guarded(listener) as () => void, options)
    }

    override removeEventListener(type: string, listener: unknown, options?: ListenerOptions): void {
      super.removeEventListener(type as 'open', this.#listeners.guarded(listener) as () => void, options)
    }

    /** undici fires its events here. */
    override dispatchEvent(event: Event): boolean {
      return this.#inContext(() => super.dispatchEvent(event.type === 'error' ? this.#explained(event) : event))
    }

    #explained(event: Event): Event {
      const { failure } = this.#handshake
      if (failure === undefined) return event
      const message = failure instanceof Error ? failure.message : String(failure)
      return new ErrorEvent('error', { error: failure, message }) as unknown as Event
    }
  }
  return made
}

function pairs(flat: readonly string[]): [string, string][] {
  const given: [string, string][] = []
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i]!
    if (OF_THE_HANDSHAKE.test(name)) {
      const hint = name === 'sec-websocket-protocol' ? 'use the option protocols' : 'the WebSocket sets it'
      throw mistake(['headers', name], `cannot be set: ${hint}`, 'webSocket')
    }
    given.push([name, flat[i + 1]!])
  }
  return given
}
