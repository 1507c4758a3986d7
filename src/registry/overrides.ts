/**
 * What operators override of an instance: no calls, or another weight. Kept by service and address,
 * so it survives a restart.
 */
import type { Instance } from '../discovery/instance.ts'
import { ApiError } from './api/error.ts'
import type { InstanceRecord, OverrideRecord } from './records.ts'
import type { ServiceEntry } from './service-entry.ts'

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

/**
 * `before` with `change`; the same object if nothing changes, `undefined` if nothing is left to
 * override.
 */
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

/**
 * The address whose override makes room for another when a service has {@link MOST_OVERRIDES}: the
 * oldest one where nothing runs, which no operator could name any more. `undefined`: there is room.
 *
 * @throws ApiError `limit-exceeded`, because all of them are in use
 */
export function displaced({ name, overrides, addresses }: ServiceEntry): string | undefined {
  if (overrides.size < MOST_OVERRIDES) return undefined
  const unused = [...overrides].filter(([address]) => !addresses.has(address))
  if (unused.length > 0) return unused.reduce((oldest, one) => (one[1].at < oldest[1].at ? one : oldest))[0]
  throw new ApiError('limit-exceeded', `'${name}' has ${MOST_OVERRIDES} overrides already; take some back first`)
}

/** For a message: the one id that begins with `part`. */
export function wholeId(part: string, ids: Iterable<string>): string {
  const [only, another] = [...ids].filter((id) => id.startsWith(part))
  return only === undefined || another !== undefined ? '' : `; did you mean '${only}'?`
}

/** Both come from `readInstance`, which builds them with the same keys in the same order. */
export function sameInstance(a: Instance, b: Instance): boolean {
  const order = (instance: Instance): string =>
    JSON.stringify({ ...instance, metadata: Object.entries(instance.metadata).sort(([x], [y]) => (x < y ? -1 : 1)) })
  return order(a) === order({ ...a, ...b })
}
