/** Options of HTTP clients, `fetch` and dispatchers, with their validation. */
import type { Duration } from '../../options/duration.ts'
import { check, fields, flag, instance, list, optional, withDefault } from '../../options/fields.ts'
import { duration } from '../../options/quantities.ts'
import type { SharingSettings } from '../../resilience/shared-results.ts'
import type { Filter } from './filter.ts'
import { LONGEST_IDLE_MS } from './prepare-request.ts'
import type { HttpRequest } from './request-options.ts'
import type { HttpResponse } from './response.ts'
import { SERVICE_HOSTS } from './service-hosts.ts'

/** See {@link Filter}. */
export type HttpFilter = Filter<HttpRequest, HttpResponse>

/** How one client behaves; given to `mesh.http`. */
export interface HttpClientOptions {
  /** Wrap each call of this client, the first outermost; at most 64. @defaultValue none */
  readonly filters?: readonly HttpFilter[] | undefined
  /**
   * Equal GETs, without options but headers and query, share one exchange while it runs. It is
   * bounded by the service's timeout and not by the callers' deadlines, and cancelled when all have
   * gone. @defaultValue `true` with `cache`, else `false`
   */
  readonly collapse?: boolean | undefined
  /**
   * How long the answer to a GET (status 200, at most 64 KiB, not `no-store`, `no-cache` or
   * `private`) is kept for equal ones; at most 1,000 answers. @defaultValue not at all
   */
  readonly cache?: Duration | undefined
  /**
   * For calls that set none: see `HttpRequestOptions.idleTimeout`.
   * @defaultValue the policy's (60 s)
   */
  readonly idleTimeout?: Duration | undefined
}

const CLIENT_FIELDS = fields({
  filters: withDefault(
    list(
      instance<HttpFilter>('a function (request, call, next)', (value) => typeof value === 'function'),
      { max: 64 },
    ),
    Object.freeze([]),
  ),
  collapse: optional(flag()),
  cache: optional(duration({ min: 1, max: 3_600_000 })),
  idleTimeout: optional(duration({ min: 10, max: LONGEST_IDLE_MS })),
})
const FETCH_FIELDS = fields({ passthrough: withDefault(flag(), false) })
const DISPATCHER_FIELDS = fields({
  services: SERVICE_HOSTS,
  fallback: optional(
    instance(
      'an undici Dispatcher',
      (value) => typeof (value as { dispatch?: unknown } | null)?.dispatch === 'function',
    ),
  ),
})

/** @throws OptionsError */
export function checkClientOptions(options: unknown): {
  readonly filters: readonly HttpFilter[]
  readonly sharing: SharingSettings | undefined
  readonly idleMs: number | undefined
} {
  const { filters, collapse, cache, idleTimeout: idleMs } = check(CLIENT_FIELDS, options, 'mesh.http')
  if (collapse !== true && cache === undefined) return { filters, sharing: undefined, idleMs }
  return { filters, sharing: Object.freeze({ collapse: collapse ?? true, cacheMs: cache ?? 0 }), idleMs }
}

/** @throws OptionsError */
export function checkFetchOptions(options: unknown): void {
  check(FETCH_FIELDS, options, 'fetch')
}

/** @throws OptionsError */
export function checkDispatcherOptions(options: unknown): void {
  check(DISPATCHER_FIELDS, options, 'mesh.dispatcher')
}
