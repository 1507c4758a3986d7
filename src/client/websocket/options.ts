/** Options of one WebSocket, with their validation. */
import type { Duration } from '../../options/duration.ts'
import { show } from '../../options/fields.ts'
import { didYouMean } from '../../options/nearest.ts'
import { checkKey, checkSignal, checkTimeout, mistake } from '../call-options.ts'
import type { HeadersInput } from '../http/headers.ts'
import type { QueryInput } from '../http/prepare-request.ts'

/** Everything about a WebSocket but its service and path. */
export interface WebSocketOptions {
  /** Subprotocols, the preferred one first. The service chooses one: `protocol`. */
  readonly protocols?: string | readonly string[] | undefined
  /** Headers of the handshake. Ours (deadline, trace, baggage) are added. */
  readonly headers?: HeadersInput | undefined
  /** Added to the path. */
  readonly query?: QueryInput | undefined
  /** Breaks it off, whether it is connecting or open. */
  readonly signal?: AbortSignal | null | undefined
  /** Bound of the handshake, retries included. @defaultValue the service's timeout */
  readonly timeout?: Duration | undefined
  /**
   * A second handshake does no harm, so it may be repeated after it was sent. One that was
   * certainly not executed is repeated anyway. @defaultValue false
   */
  readonly idempotent?: boolean | undefined
  /** `false`: one attempt only. */
  readonly retry?: false | undefined
  /**
   * WebSockets with the same key go to the same endpoint, if the service's balancer is `ring-hash`
   * or `maglev`. @defaultValue what the service's policy makes the key of
   */
  readonly key?: string | undefined
  /**
   * The longest message that is received, in bytes, decompressed. A longer one closes it with 1009.
   * @defaultValue 134217728 (128 MiB)
   */
  readonly maxPayload?: number | undefined
}

/** Options of `mesh.createConnection`; the WebSocket library has the others. */
export type ConnectorOptions = Pick<WebSocketOptions, 'signal' | 'timeout' | 'idempotent' | 'retry' | 'key'>

const CONNECTOR_KEYS: readonly string[] = [
  'signal',
  'timeout',
  'idempotent',
  'retry',
  'key',
] satisfies (keyof ConnectorOptions)[]

const KEYS: readonly string[] = ['protocols', 'headers', 'query', 'maxPayload', ...CONNECTOR_KEYS] satisfies (
  | keyof WebSocketOptions
  | string
)[]

const SUBPROTOCOL = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/
/** undici's own default. */
const MAX_PAYLOAD_BYTES = 134_217_728

/** How the handshake is called. */
export interface HandshakeSettings extends Omit<ConnectorOptions, 'signal'> {
  readonly signal: AbortSignal | undefined
}

export interface WebSocketSettings extends HandshakeSettings, Pick<WebSocketOptions, 'headers' | 'query'> {
  readonly protocols: string[]
  readonly maxPayload: number
}

/** Headers and query are checked where they are used. @throws OptionsError */
export function resolveWebSocket(options: WebSocketOptions = {}): WebSocketSettings {
  const what = 'webSocket'
  if (typeof options === 'string' || Array.isArray(options)) {
    throw mistake([], `expected an object of options, got ${show(options)}: subprotocols are { protocols }`, what)
  }
  const settings = resolveCall(options, KEYS, what)
  const { maxPayload = MAX_PAYLOAD_BYTES, headers, query } = options
  if (!Number.isSafeInteger(maxPayload) || maxPayload < 1) {
    throw mistake(['maxPayload'], `expected a number of bytes from 1, got ${show(maxPayload)}`, what)
  }
  return { ...settings, headers, query, protocols: protocolsOf(options.protocols, what), maxPayload }
}

/** @throws OptionsError */
export function resolveConnector(options: ConnectorOptions = {}): HandshakeSettings {
  return resolveCall(options, CONNECTOR_KEYS, 'createConnection')
}

function resolveCall(options: ConnectorOptions, keys: readonly string[], what: string): HandshakeSettings {
  if (typeof options !== 'object' || options === null) {
    throw mistake([], `expected an object of options, got ${show(options)}`, what)
  }
  for (const key in options) {
    if (keys.includes(key)) continue
    const hint = didYouMean(key, keys) || `; valid keys are ${keys.join(', ')}`
    throw mistake([key], `unknown key${hint}`, what)
  }
  const { idempotent, retry, signal, key, timeout } = options
  if (idempotent !== undefined && typeof idempotent !== 'boolean') {
    throw mistake(['idempotent'], `expected true or false, got ${show(idempotent)}`, what)
  }
  if (retry !== undefined && retry !== false) {
    throw mistake(['retry'], `expected false for one attempt only, or nothing, got ${show(retry)}`, what)
  }
  checkSignal(signal, what)
  checkTimeout(timeout, what)
  if (key !== undefined) checkKey(key, what)
  return { idempotent, retry, key, timeout, signal: signal ?? undefined }
}

function protocolsOf(given: unknown, what: string): string[] {
  const list: unknown[] = given === undefined ? [] : Array.isArray(given) ? [...given] : [given]
  const seen = new Set<string>()
  for (const one of list) {
    const valid = typeof one === 'string' && SUBPROTOCOL.test(one) && !seen.has(one.toLowerCase())
    if (!valid) {
      const message = `expected names without spaces, each once, such as 'graphql-transport-ws', got ${show(one)}`
      throw mistake(['protocols'], message, what)
    }
    seen.add((one as string).toLowerCase())
  }
  return list as string[]
}
