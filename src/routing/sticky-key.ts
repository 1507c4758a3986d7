/** The part of a request whose value decides between the targets of a split. */
import { cookieOf } from '../core/cookie.ts'
import type { RequestHead } from '../core/request-head.ts'
import type { StickySettings, TargetSettings } from './settings.ts'

/**
 * `undefined`: the request has none. An empty value is none. `member`: the value of the member of
 * its baggage that `sticky` names.
 */
export function stickyKeyOf(
  { from, name }: StickySettings,
  head: RequestHead,
  member: string | undefined,
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
      return member || undefined
  }
}

/** The first value of that name. */
function queryOf(path: string, name: string): string | undefined {
  const at = path.indexOf('?')
  return at < 0 ? undefined : (new URLSearchParams(path.slice(at + 1)).get(name) ?? undefined)
}

/** The member of the baggage that carries the side of a request, in splits by the member `name`. */
export function sideMember(name: string): string {
  return `inmesh-side.${name}`
}

/** The index of the target `side`, if a split may send to it. */
export function sideIndex(targets: readonly TargetSettings[], side: string | undefined): number | undefined {
  if (side === undefined) return undefined
  const index = targets.findIndex(({ key, weight }) => key === side && weight > 0)
  return index < 0 ? undefined : index
}
