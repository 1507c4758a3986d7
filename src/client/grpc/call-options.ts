/**
 * Checks the options of a call with a callback or a stream, before grpc-js starts it. Refuses
 * options of promises, and warns of any other that grpc-js ignores and no interceptor may read.
 */
import type * as grpc from '@grpc/grpc-js'
import { OptionsError, show } from '../../options/fields.ts'
import { didYouMean } from '../../options/nearest.ts'
import { cancelAbandoned } from './abandoned-streams.ts'
import type { InterceptorHost } from './interceptors/guard.ts'
import { guardCallOptions } from './interceptors/interceptors.ts'

type Transform = NonNullable<grpc.ClientOptions['callInvocationTransformer']>
type Started = ReturnType<Transform>
type Definition = Pick<Started['methodDefinition'], 'path' | 'responseStream'>

const KEYS: ReadonlySet<string> = new Set([
  'deadline',
  'host',
  'parent',
  'propagate_flags',
  'credentials',
  'interceptors',
  'interceptor_providers',
] satisfies (keyof grpc.CallOptions)[])

/** Options that only promises take. */
const OF_PROMISES: ReadonlySet<string> = new Set(['metadata', 'signal', 'timeout', 'idempotent', 'retry', 'key'])

/** `intercepted`: the client has interceptors. */
export function checkedCallOptions(host: InterceptorHost, intercepted: boolean): Transform {
  return (properties: Started): Started => {
    const { callOptions, methodDefinition } = properties
    checkShape(callOptions, methodDefinition)
    if (intercepted || isSet(callOptions.interceptors) || isSet(callOptions.interceptor_providers)) {
      properties.callOptions = guardCallOptions(host, callOptions)
    } else checkKeys(callOptions)
    return cancelAbandoned(properties)
  }
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null
}

/** @throws OptionsError for anything but an object of options */
function checkShape(options: unknown, definition: Definition): void {
  if (typeof options !== 'object' || options === null) throw wrong([], noOptions(options, definition))
  if (typeof (options as { getMap?: unknown }).getMap === 'function') {
    throw wrong(['metadata'], 'is of another copy of grpc-js than the one that the mesh uses')
  }
}

/**
 * @throws OptionsError for an option of promises, and for a misspelled option of grpc-js
 */
function checkKeys(options: grpc.CallOptions): void {
  for (const key in options) {
    if (KEYS.has(key) || (options as Record<string, unknown>)[key] === undefined) continue
    const hint = hintFor(key)
    if (hint !== '') throw wrong([key], `unknown key${hint}`)
    warnOnce(key)
  }
}

const MOST_WARNED = 100
const warned = new Set<string>()

/**
 * grpc-js ignores unknown keys, and an application may keep data among the options.
 */
function warnOnce(key: string): void {
  if (warned.has(key) || warned.size >= MOST_WARNED) return
  warned.add(key)
  const message = `grpc: ${show(key)} is no option of a call and has no effect; metadata is given as grpc-js's Metadata`
  process.emitWarning(message, { type: 'InmeshWarning', code: 'INMESH_GRPC_OPTION' })
}

function noOptions(given: unknown, { path, responseStream }: Definition): string {
  const hint = responseStream && typeof given === 'function' ? `; ${path} has no callback: it returns a stream` : ''
  return `expected an object of options, got ${show(given)}${hint}`
}

function hintFor(key: string): string {
  if (key === 'timeout') return '; calls with a callback have deadline, promises have timeout'
  if (key === 'signal') return '; calls with a callback have cancel(), promises have signal'
  if (OF_PROMISES.has(key)) return '; it is an option of promises'
  return didYouMean(key, KEYS)
}

function wrong(path: readonly string[], message: string): OptionsError {
  return new OptionsError('grpc', [{ path: [...path], message }])
}
