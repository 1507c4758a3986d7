/** Where a redirect of a route sends: what it does not say stays as the caller wrote it. */
import { rewrittenPath } from './rewritten-path.ts'
import type { RedirectSettings, RouteSettings } from './settings.ts'

const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443' }

/**
 * `path`: of the request, with its query. `origin`: scheme, host and port that the caller wrote. A
 * redirect that names a scheme without a port means the port of that scheme.
 */
export function redirectLocation(
  redirect: RedirectSettings,
  route: RouteSettings,
  path: string,
  origin: string | URL,
): string {
  const { protocol, hostname, port: written } = typeof origin === 'string' ? new URL(origin) : origin
  const { scheme = protocol.slice(0, -1), host = hostname } = redirect
  const port = String(redirect.port ?? (redirect.scheme === undefined ? (written ?? '') : ''))
  const to = redirect.path === undefined ? path : rewrittenPath(route, redirect.path, path)
  return `${scheme}://${host}${port === '' || port === DEFAULT_PORTS[scheme] ? '' : `:${port}`}${to}`
}
