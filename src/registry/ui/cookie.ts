/** The cookie of the page: it holds the id of a session, and no script reads it. */
import { isEncrypted } from '../access/access.ts'
import { ApiError } from '../api/error.ts'
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
 * The session's id; `undefined` without one.
 *
 * @throws ApiError `identity-required` if it is there twice: another site of this host put one
 */
export function readCookie(request: IncomingRequest): string | undefined {
  const name = nameOf(request)
  // Without TLS here there may be some at a proxy.
  const names = isEncrypted(request) ? [`${STRICT}${name}`] : [`${STRICT}${name}`, name]
  const values = (request.headers.cookie ?? '').split(';').flatMap((pair) => {
    const [key, value = ''] = pair.trim().split('=', 2)
    return names.includes(key!) ? [value] : []
  })
  if (values.length > 1) throw new ApiError('identity-required', 'the cookie of the page is there twice; log in again')
  return ID.test(values[0] ?? '') ? values[0] : undefined
}

/** `id`: `undefined` removes it. */
export function writeCookie(request: IncomingRequest, id: string | undefined): string {
  const isSecure = isEncrypted(request) || (request.headers.origin?.startsWith('https://') ?? false)
  const name = isSecure ? `${STRICT}${nameOf(request)}` : nameOf(request)
  const scope = isSecure ? 'Path=/; Secure' : 'Path=/ui'
  const age = id === undefined ? 0 : SESSION_MS / 1_000
  return `${name}=${id ?? ''}; ${scope}; HttpOnly; SameSite=Strict; Max-Age=${age}`
}
