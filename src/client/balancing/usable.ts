/** Whom a picker may choose, and whom it takes when nobody is left: the same rules for every balancer. */
import type { Endpoint } from '../../core/endpoint.ts'

export type Tried = readonly Endpoint[] | undefined

/** In panic, ejections are ignored. */
export function isUsable(endpoint: Endpoint, tried: Tried, panicking: boolean): boolean {
  if (!panicking && endpoint.state !== 'healthy') return false
  return tried === undefined || !tried.includes(endpoint)
}

/** Those who take calls: weight 0 means none, unless all say so. */
export function withWeight(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const weighty = endpoints.filter((endpoint) => endpoint.weight > 0)
  return weighty.length > 0 ? weighty : endpoints
}

/**
 * The best that a search from `from` finds when ordinary picking found nothing. A healthy one that failed once in this call is
 * a better bet than an ejected one.
 */
export function searchAll(endpoints: readonly Endpoint[], from: number, tried: Tried, panicking: boolean): Endpoint {
  return (
    search(endpoints, from, tried, panicking) ??
    search(endpoints, from, undefined, false) ??
    search(endpoints, from, tried, true) ??
    endpoints[from]!
  )
}

function search(endpoints: readonly Endpoint[], from: number, tried: Tried, panicking: boolean): Endpoint | undefined {
  const size = endpoints.length
  for (let i = 0; i < size; i++) {
    const endpoint = endpoints[(from + i) % size]!
    if (isUsable(endpoint, tried, panicking)) return endpoint
  }
  return undefined
}
