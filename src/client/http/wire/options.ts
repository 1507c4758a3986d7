/** Options of the calls that a connection or an agent makes of a library's requests. */
import { show } from '../../../options/fields.ts'
import { didYouMean } from '../../../options/nearest.ts'
import { checkKey, checkSignal, checkTimeout, mistake } from '../../call-options.ts'
import { checkIdleTimeout } from '../prepare-request.ts'
import type { HttpCallOptions } from '../request-options.ts'

/** Options of `mesh.createConnection`, for every call; see `HttpRequestOptions` for each. */
export interface ConnectorOptions extends HttpCallOptions {
  /** Cancels the calls of all its connections. @defaultValue none */
  readonly signal?: AbortSignal | null | undefined
}

/** How the requests of a connection are called. */
export interface WireCallSettings extends HttpCallOptions {
  readonly signal: AbortSignal | undefined
}

const CHECKS: Readonly<Record<keyof WireCallSettings, (value: unknown, what: string) => void>> = {
  signal: checkSignal,
  timeout: checkTimeout,
  key: checkKey,
  idleTimeout: checkIdleTimeout,
  idempotent: checkFlag('idempotent'),
  streaming: checkFlag('streaming'),
  retry(value, what) {
    if (value === false) return
    throw mistake(['retry'], `expected false for one attempt only, or nothing, got ${show(value)}`, what)
  },
}

export const CALL_KEYS: readonly string[] = [
  'timeout',
  'idempotent',
  'retry',
  'key',
  'streaming',
  'idleTimeout',
] satisfies (keyof HttpCallOptions)[]

const CONNECTOR_KEYS = ['signal', ...CALL_KEYS]

/** @throws OptionsError */
export function resolveConnector(options: ConnectorOptions = {}): WireCallSettings {
  checkCallSettings(options, CONNECTOR_KEYS, 'createConnection')
  return { ...options, signal: options.signal ?? undefined }
}

/** `keys`: those that `what` takes. @throws OptionsError naming the option that is wrong */
export function checkCallSettings(options: unknown, keys: readonly string[], what: string): void {
  if (typeof options !== 'object' || options === null) {
    throw mistake([], `expected an object of options, got ${show(options)}`, what)
  }
  for (const [key, value] of Object.entries(options)) {
    if (!keys.includes(key)) {
      const hint = didYouMean(key, keys) || `; valid keys are ${keys.join(', ')}`
      throw mistake([key], `unknown key${hint}`, what)
    }
    if (value !== undefined && Object.hasOwn(CHECKS, key)) CHECKS[key as keyof WireCallSettings](value, what)
  }
}

function checkFlag(key: string): (value: unknown, what: string) => void {
  return (value, what) => {
    if (typeof value !== 'boolean') throw mistake([key], `expected true or false, got ${show(value)}`, what)
  }
}
