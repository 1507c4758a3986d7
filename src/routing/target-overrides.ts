/**
 * Where the overrides of a request send its call to one service. The document of that service, or
 * of the mesh, says who may introduce them.
 */
import type { RouteOverrides } from '../core/route-overrides.ts'
import type { ServiceSettings } from '../resilience/settings.ts'
import type { RouteSettings, RoutingSettings, SubsetSettings, TargetSettings } from './settings.ts'

/** `reason`: why an override counts for nothing. */
export type OverrideRefused = (origin: string | undefined, reason: string) => void

export class TargetOverrides {
  readonly #service: string
  readonly #refused: OverrideRefused

  constructor(service: string, refused: OverrideRefused) {
    this.#service = service
    this.#refused = refused
  }

  /** `undefined`: its route decides. */
  of(
    { targets, origin }: Pick<RouteOverrides, 'targets' | 'origin'>,
    { overrides, subsets }: Pick<RoutingSettings, 'overrides' | 'subsets'>,
  ): TargetSettings | undefined {
    const wanted = targets.get(this.#service)
    if (wanted === undefined) return undefined
    if (origin === undefined || overrides?.from.includes(origin) !== true) {
      this.#refused(origin, `no document allows '${origin ?? 'a stranger'}' to override calls to '${this.#service}'`)
      return undefined
    }
    if (overrides.services !== '*' && !overrides.services.includes(this.#service)) {
      this.#refused(origin, `'${this.#service}' is not among the services that may be overridden`)
      return undefined
    }
    const { service, subset } = wanted
    if (service !== undefined && service !== this.#service) return targetOf(service, subset)
    const own = subset === undefined ? undefined : subsets.get(subset)
    if (subset !== undefined && own === undefined) {
      this.#refused(origin, `'${this.#service}' has no subset '${subset}'`)
      return undefined
    }
    return targetOf(this.#service, own)
  }
}

/** `subset`: its settings if it is one of the called service, else its name. */
function targetOf(service: string, subset: SubsetSettings | string | undefined): TargetSettings {
  const key =
    typeof subset === 'object'
      ? subset.name
      : subset === undefined
        ? `service:${service}`
        : `service:${service}/${subset}`
  const unchanged = { headers: undefined, responseHeaders: undefined, missing: false }
  return { key, service, subset, weight: 1, ...unchanged }
}

/** The route with another target: not split, copied to none, and without failover. */
export function divertedRoute(
  route: RouteSettings | undefined,
  target: TargetSettings,
  policy: ServiceSettings,
): RouteSettings {
  return Object.freeze({
    ...(route ?? { ...PLAIN, policy }),
    targets: [target],
    sticky: undefined,
    session: undefined,
    mirrors: [],
    failover: undefined,
  })
}

const PLAIN: Omit<RouteSettings, 'policy'> = {
  name: '',
  matches: [],
  targets: [],
  sticky: undefined,
  session: undefined,
  mirrors: [],
  headers: undefined,
  responseHeaders: undefined,
  rewrite: undefined,
  answer: undefined,
  faults: [],
  own: new Set(),
  failover: undefined,
}
