/** The cookie of the page: it holds the id of a session, and no script reads it. */
import { isEncrypted } from '../access/access.ts'
import { authorityOf, type IncomingRequest } from '../api/request.ts'
import { SESSION_MS } from './sessions.ts'

const ID = /^[A-Za-z0-9_-]{43}$/
/** Browsers take such a cookie over TLS only, from this host only, and for all its paths. */
const STRICT = '__Host-'

/**
 * Cookies ignore ports, so the name holds it: several registries of one machine each have their
 * sessions.
 */
function nameOf(request: IncomingRequest): string {
  const port = /:(\d{1,5})$/.exec(authorityOf(request))?.[1]
  return port === undefined ? 'inmesh' : `inmesh-${port}`
}

/**
 * What may be the session's id. More than one if another site of this host put cookies beside it.
 */
export function readCookies(request: IncomingRequest): string[] {
  const name = nameOf(request)
  // Without TLS here there may be some at a proxy.
  const names = isEncrypted(request) ? [`${STRICT}${name}`] : [`${STRICT}${name}`, name]
  const values = (request.headers.cookie ?? '').split(';').flatMap((pair) => {
    const [key, value = ''] = pair.trim().split('=', 2)
    return names.includes(key!) && ID.test(value) ? [value] : []
  })
  return [...new Set(values)]
}

/** `id`: `undefined` removes it. */
export function writeCookie(request: IncomingRequest, id: string | undefined): string {
  const isSecure = isEncrypted(request) || (request.headers.origin?.startsWith('https://') ?? false)
  const name = isSecure ? `${STRICT}${nameOf(request)}` : nameOf(request)
  const scope = isSecure ? 'Path=/; Secure' : 'Path=/ui'
  const age = id === undefined ? 0 : SESSION_MS / 1_000
  return `${name}=${id ?? ''}; ${scope}; HttpOnly; SameSite=Strict; Max-Age=${age}`
}
