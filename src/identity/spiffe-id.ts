/**
 * SPIFFE IDs, `spiffe://<trust domain>/<path>`. Upper case is refused instead of folded: equal
 * identities are equal texts.
 */
import { OptionsError, show } from '../options/fields.ts'
import { SERVICE_NAME } from '../options/names.ts'

export interface SpiffeId {
  readonly trustDomain: string
  /** `''` for the trust domain itself, otherwise `/segment/segment`. */
  readonly path: string
}

const SCHEME = 'spiffe://'
/** SPIFFE-ID.md 2.1 and 2.3: 255 bytes of trust domain, 2,048 in all. */
const LONGEST_TRUST_DOMAIN = 255
const LONGEST_ID = 2_048

const TRUST_DOMAIN = /^[a-z0-9._-]+$/
const SEGMENT = /^[A-Za-z0-9._-]+$/
const SERVICE_PREFIX = '/service/'
const REGISTRY_PATH = '/registry'

export function isTrustDomain(text: string): boolean {
  return text.length <= LONGEST_TRUST_DOMAIN && TRUST_DOMAIN.test(text)
}

/**
 * `undefined` for anything that is not a valid ID: query, fragment, port, user, escapes, empty or
 * dot segments.
 */
export function parseSpiffeId(text: string): SpiffeId | undefined {
  if (text.length > LONGEST_ID || !text.startsWith(SCHEME)) return undefined
  const slash = text.indexOf('/', SCHEME.length)
  const trustDomain = slash < 0 ? text.slice(SCHEME.length) : text.slice(SCHEME.length, slash)
  if (!isTrustDomain(trustDomain)) return undefined
  const path = slash < 0 ? '' : text.slice(slash)
  if (path !== '') {
    for (const segment of path.slice(1).split('/')) {
      if (segment === '.' || segment === '..' || !SEGMENT.test(segment)) return undefined
    }
  }
  return { trustDomain, path }
}

/** The inverse of {@link parseSpiffeId}. Throws an `OptionsError` if the parts make no valid ID. */
export function formatSpiffeId(id: SpiffeId): string {
  const text = `${SCHEME}${id.trustDomain}${id.path}`
  const parsed = parseSpiffeId(text)
  if (parsed === undefined || parsed.trustDomain !== id.trustDomain) {
    const message = `expected a trust domain of lower-case letters, digits, '.', '-', '_' and a path of plain segments, got ${show(text)}`
    throw new OptionsError('SPIFFE ID', [{ path: [], message }])
  }
  return text
}

/** `spiffe://<trust domain>`: the name of the authority itself. */
export function authorityId(trustDomain: string): string {
  return formatSpiffeId({ trustDomain, path: '' })
}

/** `spiffe://<trust domain>/service/<name>`. Throws an `OptionsError` if either part is invalid. */
export function serviceId(trustDomain: string, service: string): string {
  if (!SERVICE_NAME.test(service)) {
    throw new OptionsError('SPIFFE ID', [
      { path: ['service'], message: `expected a service name, got ${show(service)}` },
    ])
  }
  return formatSpiffeId({ trustDomain, path: SERVICE_PREFIX + service })
}

/** `spiffe://<trust domain>/registry`. */
export function registryId(trustDomain: string): string {
  return formatSpiffeId({ trustDomain, path: REGISTRY_PATH })
}

/**
 * The service that `id` names in `trustDomain`; `undefined` for every other identity, also for the
 * registry's.
 */
export function serviceOf(id: string, trustDomain: string): string | undefined {
  const parsed = parseSpiffeId(id)
  if (parsed === undefined || parsed.trustDomain !== trustDomain) return undefined
  if (!parsed.path.startsWith(SERVICE_PREFIX)) return undefined
  const service = parsed.path.slice(SERVICE_PREFIX.length)
  return SERVICE_NAME.test(service) ? service : undefined
}
