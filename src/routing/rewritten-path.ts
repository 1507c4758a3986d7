/** The path of a request as a route rewrites it. The query stays, and so do escapes. */
import { normalPath } from '../net/request-path.ts'
import { isWhole, type SegmentPattern } from './path-pattern.ts'
import type { PathRewrite, RouteSettings } from './settings.ts'

/**
 * `path`: with its query. If no pattern of the route binds it, it stays as it is. A path that
 * servers refuse is bound only by a pattern for all paths, as the URL standard reads it.
 */
export function rewrittenPath({ matches }: RouteSettings, rewrite: PathRewrite, path: string): string {
  const end = path.indexOf('?')
  const query = end < 0 ? '' : path.slice(end)
  const readable = normalPath(path)
  const bare = readable === undefined ? standardPath(path) : end < 0 ? path : path.slice(0, end)
  const normal = (readable ?? bare).split('/').slice(1)
  for (const { path: pattern } of matches) {
    if (pattern?.kind !== 'segments') continue
    if (readable === undefined ? !isWhole(pattern) : !holds(pattern, normal)) continue
    const written = bare.split('/').slice(1)
    return (
      (rewrite.kind === 'prefix'
        ? withPrefix(rewrite.prefix, pattern, written)
        : filled(rewrite.template, pattern, written)) + query
    )
  }
  // A route without a path matches any.
  return rewrite.kind === 'template' && !rewrite.template.includes('{') ? rewrite.template + query : path
}

/** Without dot segments and backslashes, percent-encoded. */
function standardPath(path: string): string {
  return new URL(`http://service${path}`).pathname
}

function holds({ segments, end }: SegmentPattern, path: readonly string[]): boolean {
  if (path.length < segments.length || (end === 'exact' && path.length > segments.length)) return false
  if (end === 'rest' && path.length === segments.length) return false
  return segments.every((segment, i) => segment === undefined || segment === path[i])
}

/** `/xyz` for `/foo` makes `/xyz/bar` of `/foo/bar`; `/` makes `/bar`. */
function withPrefix(prefix: string, { segments }: SegmentPattern, path: readonly string[]): string {
  const bare = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix
  const rest = path.slice(segments.length)
  return rest.length === 0 ? bare || '/' : `${bare}/${rest.join('/')}`
}

function filled(template: string, { segments, names }: SegmentPattern, path: readonly string[]): string {
  const bound = segments.flatMap((segment, i) => (segment === undefined ? [path[i]!] : []))
  return template.replace(/\{(\w+)\}/g, (written, name: string) => bound[names.indexOf(name)] ?? written)
}
