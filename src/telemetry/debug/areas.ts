/** The areas of INMESH_DEBUG, and the channels of `node:diagnostics_channel` that each shows. */
import { OptionsError } from '../../options/fields.ts'
import { didYouMean } from '../../options/nearest.ts'
import type { EventName } from '../events.ts'

type CallChannel = 'attempt:started' | 'attempt:ended' | 'call:ended'
export type DebugChannel = EventName | CallChannel

/** In the order of docs/debug.md. Every event is in one of them. */
export const DEBUG_AREAS = {
  discovery: [
    ...(['registry:connected', 'registry:lost', 'registry:unreachable'] as const),
    ...(['snapshot:applied', 'snapshot:rejected', 'instance:unlisted'] as const),
  ],
  balancing: [
    ...(['attempt:started', 'endpoint:ejected', 'endpoint:probing', 'endpoint:restored'] as const),
    ...(['endpoint:withdrawn', 'cluster:panic'] as const),
  ],
  retry: ['attempt:ended', 'retry:budget-exhausted', 'hedge:changed'],
  breaker: ['circuit:transition', 'throttle:changed'],
  limits: ['limit:changed', 'quota:changed', 'admission:refused'],
  auth: ['peer:refused', 'intention:denied', 'override:refused'],
  identity: ['identity:renewed', 'identity:failed', 'identity:expiring', 'identity:expired'],
  faults: ['fault:changed', 'fault:injected'],
  server: ['drain:step', 'target:unreachable', 'tap:began', 'tap:ended'],
  calls: ['call:ended'],
} as const satisfies Readonly<Record<string, readonly DebugChannel[]>>

export type DebugArea = keyof typeof DEBUG_AREAS
export type DebugFormat = 'text' | 'json'

export interface DebugSettings {
  readonly areas: readonly DebugArea[]
  readonly format: DebugFormat
}

/**
 * `undefined`: INMESH_DEBUG is not set.
 *
 * @throws OptionsError naming the area that is invalid, and the valid ones
 */
export function debugSettings(env: Readonly<Record<string, string | undefined>>): DebugSettings | undefined {
  const given = env.INMESH_DEBUG?.trim()
  if (!given) return undefined
  const all = Object.keys(DEBUG_AREAS) as DebugArea[]
  const areas = new Set<DebugArea>()
  for (const name of given.split(',').map((one) => one.trim().toLowerCase())) {
    if (name === '*') for (const area of all) areas.add(area)
    else if (Object.hasOwn(DEBUG_AREAS, name)) areas.add(name as DebugArea)
    else throw invalid('INMESH_DEBUG', name, all)
  }
  const format = env.INMESH_DEBUG_FORMAT?.trim() || 'text'
  if (format !== 'text' && format !== 'json') throw invalid('INMESH_DEBUG_FORMAT', format, ['text', 'json'])
  return { areas: [...areas], format }
}

function invalid(variable: string, given: string, valid: readonly string[]): OptionsError {
  const hint = didYouMean(given, valid)
  const expected = variable === 'INMESH_DEBUG' ? "areas by commas, or '*' for all" : 'a format'
  const message = `expected ${expected}: ${valid.join(', ')}; got ${JSON.stringify(given)}${hint}`
  return new OptionsError('joinMesh', [{ path: [variable], message }])
}
