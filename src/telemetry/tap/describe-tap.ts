/** Which calls a tap asks for, as events and the audit log say it. */
import type { TapFilter } from './tap-message.ts'

/** `from checkout, GET, path /items/*, status 5xx, headers x-tenant` */
export function describeTap(asked: TapFilter & { readonly headers: readonly string[] }): string {
  const { from, method, path, statuses, headers } = asked
  const parts = [
    from === undefined ? 'any caller' : `from ${from}`,
    ...(method === undefined ? [] : [method]),
    ...(path === undefined ? [] : [`path ${path}`]),
    ...(statuses === undefined ? [] : [`status ${statuses.join(' ')}`]),
    ...(headers.length === 0 ? [] : [`headers ${headers.join(' ')}`]),
  ]
  return parts.join(', ')
}
