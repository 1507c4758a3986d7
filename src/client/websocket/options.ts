/** Options of one WebSocket, with their validation. */
import type { Duration } from '../../options/duration.ts'
import { show } from '../../options/fields.ts'
import { mistake } from '../call-options.ts'
import type { HeadersInput } from '../http/headers.ts'
import type { QueryInput } from '../http/prepare-request.ts'
import { checkCallSettings, type WireCallSettings } from '../http/wire/options.ts'

/** Everything about a WebSocket but its service and path. */
export interface WebSocketOptions {
  /**
   * Subprotocols, the preferred one first. The service chooses one: `protocol`.
   * @defaultValue none
   */
  readonly protocols?: string | readonly string[] | undefined
  /** Headers of the handshake. Ours (deadline, trace, baggage) are added. @defaultValue none */
  readonly headers?: HeadersInput | undefined
  /** Added to the path. @defaultValue none */
  readonly query?: QueryInput | undefined
  /** Breaks it off, whether it is connecting or open. @defaultValue none */
  readonly signal?: AbortSignal | null | undefined
  /** Bound of the handshake, retries included. @defaultValue the service's timeout */
  readonly timeout?: Duration | undefined
  /**
   * A second handshake does no harm, so it may be repeated after it was sent. One that was
   * certainly not executed is repeated anyway. @defaultValue false
   */
  readonly idempotent?: boolean | undefined
  /** `false`: one attempt only. @defaultValue as many as the policy allows */
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

const KEYS: readonly string[] = [
  'protocols',
  'headers',
  'query',
  'maxPayload',
  'signal',
  'timeout',
  'idempotent',
  'retry',
  'key',
] satisfies (keyof WebSocketOptions)[]

const SUBPROTOCOL = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/
/** undici's own default. */
const MAX_PAYLOAD_BYTES = 134_217_728

export interface WebSocketSettings
  extends Omit<WebSocketOptions, 'protocols' | 'maxPayload' | 'signal'>,
    Pick<WireCallSettings, 'signal'> {
  readonly protocols: string[]
  readonly maxPayload: number
}

/** Headers and query are checked where they are used. @throws OptionsError */
export function resolveWebSocket(options: WebSocketOptions = {}): WebSocketSettings {
  const what = 'webSocket'
  if (typeof options === 'string' || Array.isArray(options)) {
    throw mistake([], `expected an object of options, got ${show(options)}: subprotocols are { protocols }`, what)
  }
  checkCallSettings(options, KEYS, what)
  const { maxPayload = MAX_PAYLOAD_BYTES, signal } = options
  if (!Number.isSafeInteger(maxPayload) || maxPayload < 1) {
    throw mistake(['maxPayload'], `expected a number of bytes from 1, got ${show(maxPayload)}`, what)
  }
  return { ...options, signal: signal ?? undefined, protocols: protocolsOf(options.protocols, what), maxPayload }
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
