/**
 * Sessions of a route: the first answer carries a token that names the endpoint, and requests that
 * bring the token back go there, whatever the weights say.
 */

import { cookieOf } from '../core/cookie.ts'
import { TOKEN } from '../core/headers.ts'
import { type Field, fields, flag, optional, type Parsed, show, text, withDefault } from '../options/fields.ts'
import { duration } from '../options/quantities.ts'
import type { OptionsOf } from '../resilience/define-policy.ts'
import { CHANGEABLE } from './header-changes.ts'
import type { SessionSettings } from './settings.ts'

/** In days, as browsers keep cookies no longer. */
const LONGEST_LIFE_MS = 400 * 86_400_000

const definition = fields({
  /** The cookie that carries the token; or `header`. */
  cookie: optional(text('the name of a cookie', TOKEN, 128)),
  /** The header of answers and requests that carries the token; or `cookie`. */
  header: optional(CHANGEABLE),
  /** After this time a session begins anew. @defaultValue none */
  lifetime: optional(duration({ min: 1_000, max: LONGEST_LIFE_MS })),
  /** The path of the cookie. @defaultValue `'/'` */
  path: withDefault(text("a path that begins with '/'", /^\/[^\s;,\\"]*$/, 1_024), '/'),
  /** The cookie outlives the browser, up to `lifetime`, which it needs. @defaultValue `false` */
  permanent: withDefault(flag(), false),
})
/** Keeps a session with the endpoint that began it; exactly one of `cookie` and `header`. */
export interface SessionOptions extends OptionsOf<typeof definition> {}

export const SESSION: Field<SessionSettings, SessionOptions> = {
  ...definition,
  parse(value, path, issues) {
    const before = issues.length
    const given: Parsed<typeof definition> = definition.parse(value, path, issues)
    if (issues.length === before) {
      const { cookie, header, permanent, lifetime } = given
      if ((cookie === undefined) === (header === undefined)) {
        issues.push({ path, message: 'expected exactly one of cookie, header' })
      }
      if (permanent && (lifetime === undefined || cookie === undefined)) {
        issues.push({ path: [...path, 'permanent'], message: "needs 'cookie' and 'lifetime'" })
      }
    }
    const { cookie, header, lifetime, path: cookiePath, permanent } = given
    return Object.freeze({ cookie, header, lifetimeMs: lifetime ?? Infinity, path: cookiePath, permanent })
  },
}

/** Their values have a meaning of HTTP, gRPC or tracing, which a token would replace. */
const WITH_MEANING =
  /^(?:(?:set-)?cookie2?|authorization|(?:proxy|www)-authenticat(?:e|ion-info)|proxy-authorization|authentication-info|content-.+|accept(?:-.+)?|access-control-.+|age|allow|alt-svc|cache-control|date|etag|expires|from|if-.+|last-modified|link|location|origin|pragma|range|referer|retry-after|server|strict-transport-security|user-agent|vary|via|warning|traceparent|tracestate|baggage|idempotency-key)$/

/** Why a header cannot carry the token of a session; `undefined`: it can. */
export function sessionHeaderMistake(name: string): string | undefined {
  if (!WITH_MEANING.test(name)) return undefined
  return `${show(name)} has a meaning without sessions; expected an unused name such as 'x-session'${name === 'set-cookie' || name === 'cookie' ? ", or 'cookie'" : ''}`
}

/** What a token says. */
export interface Session {
  /** The key of the target. */
  readonly target: string
  /** The id of the endpoint. */
  readonly endpoint: string
  /** Wall clock, in whole seconds. */
  readonly since: number
}

const SHAPE = /^([A-Za-z0-9_-]{0,400})\.([A-Za-z0-9_-]{1,400})\.([0-9a-z]{1,9})$/

export function sessionToken({ target, endpoint, since }: Session): string {
  const encoded = (part: string) => Buffer.from(part).toString('base64url')
  return `${encoded(target)}.${encoded(endpoint)}.${since.toString(36)}`
}

/** `undefined`: no token, none of ours, or one whose time is over. */
export function readSession(
  { cookie, header, lifetimeMs }: SessionSettings,
  headerOf: (header: string) => string | undefined,
  wallNow: number,
): Session | undefined {
  const value = header === undefined ? cookieOf(headerOf('cookie') ?? '', cookie!) : headerOf(header)
  const found = value === undefined ? null : SHAPE.exec(value)
  if (found === null) return undefined
  const [target, endpoint] = [found[1]!, found[2]!].map((part) => Buffer.from(part, 'base64url').toString())
  const since = Number.parseInt(found[3]!, 36)
  if (wallNow - since * 1_000 >= lifetimeMs) return undefined
  return { target: target!, endpoint: endpoint!, since }
}

/** What an answer carries: a header and its value. */
export function sessionHeader(settings: SessionSettings, session: Session): readonly [name: string, value: string] {
  const { cookie, header, lifetimeMs, path, permanent } = settings
  const token = sessionToken(session)
  if (header !== undefined) return [header, token]
  const life = permanent ? `; Max-Age=${Math.floor(lifetimeMs / 1_000)}` : ''
  // Without Secure, which callers inside a mesh by plain URLs would not send back.
  return ['set-cookie', `${cookie}=${token}; Path=${path}${life}; HttpOnly; SameSite=Strict`]
}
