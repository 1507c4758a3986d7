/** Options of `mesh.connect`, with their validation. */
import { LONGEST_TIMEOUT_MS } from '../../core/deadline.ts'
import type { Duration } from '../../options/duration.ts'
import { check, fields, flag, instance, optional, text, withDefault } from '../../options/fields.ts'
import { duration } from '../../options/quantities.ts'
import { checkSignal, LONGEST_KEY } from '../call-options.ts'

/** How a connection is made. */
export interface ConnectOptions {
  /** Bound of connecting, all attempts included. @defaultValue `timeout` of the service */
  readonly timeout?: Duration
  /**
   * With a hashing balancer, connections with the same key go to the same endpoint.
   * @defaultValue none: any endpoint
   */
  readonly key?: string
  /** Whether another endpoint may be tried. @defaultValue true */
  readonly retry?: boolean
  /** Destroys the connection, whether it is open yet or not. @defaultValue none */
  readonly signal?: AbortSignal
  /**
   * Whether our side stays open after the peer has sent all, as for `net.connect`.
   * @defaultValue false
   */
  readonly allowHalfOpen?: boolean
}

const CONNECT_FIELDS = fields({
  timeout: optional(duration({ min: 1, max: LONGEST_TIMEOUT_MS })),
  key: optional(text(`text of 1 to ${LONGEST_KEY} characters`, /^[\s\S]+$/, LONGEST_KEY)),
  retry: withDefault(flag(), true),
  signal: optional(instance<AbortSignal>('an AbortSignal', isSignal)),
  allowHalfOpen: withDefault(flag(), false),
})

export interface ConnectSettings {
  readonly timeoutMs: number
  readonly key: string | undefined
  readonly retry: boolean
  readonly signal: AbortSignal | undefined
  readonly allowHalfOpen: boolean
}

/** Validates and completes. @throws OptionsError naming each wrong field */
export function resolveConnect(options?: ConnectOptions): ConnectSettings {
  const { timeout = Number.POSITIVE_INFINITY, ...given } = check(CONNECT_FIELDS, options ?? {}, 'mesh.connect')
  return { ...given, timeoutMs: timeout }
}

function isSignal(value: unknown): boolean {
  try {
    checkSignal(value)
    return true
  } catch {
    return false
  }
}
