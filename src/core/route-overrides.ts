/**
 * Overrides of one request: where its calls to some services go instead of where their routes send
 * them. They travel with the request's context over all hops.
 */

/** `inventory=green, prices=service:prices-pr-42, stock=service:stock-eu/green`. */
export const ROUTE_OVERRIDES = 'x-inmesh-route'
/** Who introduced them, signed by that process. */
export const OVERRIDE_PROOF = 'inmesh-route-proof'

/** Where calls to one service go: a subset of it, another service, or a subset of that. */
export interface OverrideTarget {
  /** `undefined`: the service itself. */
  readonly service: string | undefined
  /** `undefined`: all its instances. */
  readonly subset: string | undefined
}

export interface RouteOverrides {
  /** As it was written, and as it travels on. */
  readonly text: string
  /** By the service called. */
  readonly targets: ReadonlyMap<string, OverrideTarget>
  /** The service that introduced them, proven; `undefined`: unknown, so no document allows it. */
  readonly origin: string | undefined
  /** For the next hop; `undefined`: there is no identity to sign with. */
  readonly proof: string | undefined
}

const LONGEST = 2_048
const MOST = 16
const NAME = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const ENTRY = new RegExp(`^(${NAME})=(?:(${NAME})|service:(${NAME})(?:/(${NAME}))?)$`)

/**
 * Returns the targets by service, or the mistake as text.
 *
 * @example
 * ```ts
 * parseRouteOverrides('inventory=green') // Map { 'inventory' => { subset: 'green' } }
 * ```
 */
export function parseRouteOverrides(text: string): ReadonlyMap<string, OverrideTarget> | string {
  if (text.length > LONGEST) return `is longer than ${LONGEST} characters`
  const entries = text.split(',')
  if (entries.length > MOST) return `has ${entries.length} entries; at most ${MOST} are allowed`
  const targets = new Map<string, OverrideTarget>()
  for (const entry of entries) {
    const match = ENTRY.exec(entry.trim())
    if (match === null) {
      return "expected entries such as 'inventory=green' or 'prices=service:prices-pr-42', divided by commas"
    }
    const [, called, own, service, subset] = match
    if (targets.has(called!)) return `names '${called}' twice`
    targets.set(called!, Object.freeze({ service, subset: own ?? subset }))
  }
  return targets
}
