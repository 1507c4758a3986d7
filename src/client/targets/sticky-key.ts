/** The part of a request whose value decides between the targets of a split. */
import type { RequestHead } from '../../core/request-head.ts'
import type { StickySettings } from '../../routing/settings.ts'
import { baggageOf, type CallContext } from '../call-context.ts'
import { cookieOf } from '../cookie.ts'

/** `undefined`: the request has none. */
export function stickyKeyOf(
  { from, name }: StickySettings,
  head: RequestHead,
  context: CallContext | undefined,
): string | undefined {
  switch (from) {
    case 'header':
      return head.header(name) || undefined
    case 'cookie': {
      const cookies = head.header('cookie')
      return cookies === undefined ? undefined : cookieOf(cookies, name) || undefined
    }
    case 'query':
      return queryOf(head.path, name) || undefined
    case 'baggage':
      return baggageOf(name, head, context) || undefined
  }
}

/** The first value of that name. */
function queryOf(path: string, name: string): string | undefined {
  const at = path.indexOf('?')
  return at < 0 ? undefined : (new URLSearchParams(path.slice(at + 1)).get(name) ?? undefined)
}
