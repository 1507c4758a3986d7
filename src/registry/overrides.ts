/**
 * What operators decide about an instance at run time: no calls, or another weight. It is kept by service and address, so it
 * survives reconnects and a restart of the process there. Watchers see the outcome only: `draining`, or the weight.
 */
import type { Instance } from '../discovery/wire.ts'
import type { InstanceRecord, OverrideRecord } from './records.ts'

/** Overrides of one service. */
export const MOST_OVERRIDES = 1_000

/** What to change; what is not named stays. `weight: null`: its own again. */
export interface OverrideChange {
  readonly disabled?: boolean | undefined
  readonly weight?: number | null | undefined
}

/** The instance as watchers see it. */
export function overridden(instance: Instance, override: OverrideRecord | undefined): Instance {
  if (override === undefined) return instance
  return {
    ...instance,
    weight: override.weight ?? instance.weight,
    state: override.disabled ? 'draining' : instance.state,
  }
}

/** The instance as its process registered it. */
export function registered({ instance, own }: InstanceRecord): Instance {
  return own === undefined ? instance : { ...instance, ...own }
}

/** What the process itself says where an override may say otherwise; nothing without one. */
export function ownOf({ weight, state }: Instance, override: OverrideRecord | undefined): Pick<InstanceRecord, 'own'> {
  return override === undefined ? {} : { own: { weight, state } }
}

/** `before` with `change`; the same object if nothing changes, `undefined` if nothing is left to override. */
export function changed(
  before: OverrideRecord | undefined,
  change: OverrideChange,
  at: number,
): OverrideRecord | undefined {
  const disabled = change.disabled ?? before?.disabled ?? false
  const weight = change.weight === undefined ? (before?.weight ?? null) : change.weight
  if (!disabled && weight === null) return undefined
  return before?.disabled === disabled && before.weight === weight ? before : { disabled, weight, at }
}
