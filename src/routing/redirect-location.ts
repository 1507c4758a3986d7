/** Where a redirect of a route sends: what it does not say stays as the caller wrote it. */
import { rewrittenPath } from './rewritten-path.ts'
import type { RedirectSettings, RouteSettings } from './settings.ts'

const DEFAULT_PORTS = { http: 80, https: 443 } as const

/** `path`: of the request, with its query. `service`: the host that the caller wrote. */
export function redirectLocation(
  redirect: RedirectSettings,
  route: RouteSettings,
  path: string,
  service: string,
): string {
  const { scheme = 'http', host = service, port } = redirect
  const to = redirect.path === undefined ? path : rewrittenPath(route, redirect.path, path)
  return `${scheme}://${host}${port === undefined || port === DEFAULT_PORTS[scheme] ? '' : `:${port}`}${to}`
}
