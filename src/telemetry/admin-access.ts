/**
 * Who may ask the admin listener for what. Probes tell next to nothing and are answered to all; the
 * rest is for loopback, a list of addresses, or a token.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { canonicalAddress } from '../net/network-address.ts'
import { check, type Field, field, fields, list, optional, text, withDefault } from '../options/fields.ts'
import { integer } from '../options/quantities.ts'

/**
 * The admin listener: metrics, configuration, endpoints, events, and probes. `/livez` and `/readyz`
 * need no proof.
 */
export interface AdminOptions {
  /**
   * The IP address on which it listens, such as `'0.0.0.0'` for probes and scrapers on other
   * machines. @defaultValue `'127.0.0.1'`
   */
  readonly host?: string
  /** 0 = any free port. @defaultValue 0 */
  readonly port?: number
  /**
   * Addresses and networks that may read everything without a token, such as `['10.0.0.0/8']`.
   * Needed beyond loopback, unless there is a token; without both, others get the probes only.
   * @defaultValue none
   */
  readonly allow?: readonly string[]
  /**
   * Others must send `authorization: Bearer <token>`; on loopback, too. 16 to 256 characters.
   * @defaultValue none
   */
  readonly token?: string
}

export interface AdminSettings {
  readonly host: string
  readonly port: number
  readonly allow: BlockList | undefined
  readonly token: string | undefined
}

const ADDRESS: Field<string> = field<string>('an IP address, such as 127.0.0.1 or ::', {}, (value) =>
  typeof value === 'string' && isIP(value) !== 0 ? value : undefined,
)
const NETWORK: Field<string> = field<string>('an address or a network, such as 10.0.0.0/8', {}, (value) =>
  typeof value === 'string' && networkOf(value) !== undefined ? value : undefined,
)
export const ADMIN_FIELDS = fields({
  host: withDefault(ADDRESS, '127.0.0.1'),
  port: withDefault(integer({ min: 0, max: 65_535 }), 0),
  allow: optional(list(NETWORK, { min: 1, max: 64 })),
  token: optional(text('a token of 16 to 256 printable characters without spaces', /^[\x21-\x7e]{16,256}$/, 256)),
})

/** Validates the options and sets defaults. @throws OptionsError naming each wrong field. */
export function resolveAdmin(options?: AdminOptions, what = 'admin'): AdminSettings {
  const { host, port, allow, token } = check(ADMIN_FIELDS, options, what)
  return Object.freeze({ host, port, token, allow: allow && blockListOf(allow) })
}

interface Network {
  readonly address: string
  readonly bits: number
  readonly family: 'ipv4' | 'ipv6'
}

function networkOf(value: string): Network | undefined {
  const [address = '', bits, ...rest] = value.split('/')
  const version = isIP(address)
  const most = version === 4 ? 32 : 128
  if (version === 0 || rest.length > 0 || (bits !== undefined && !/^\d{1,3}$/.test(bits))) return undefined
  if (bits !== undefined && Number(bits) > most) return undefined
  return { address, bits: bits === undefined ? most : Number(bits), family: version === 4 ? 'ipv4' : 'ipv6' }
}

function blockListOf(networks: readonly string[]): BlockList {
  const listed = new BlockList()
  for (const each of networks) {
    const { address, bits, family } = networkOf(each)!
    listed.addSubnet(address, bits, family)
  }
  return listed
}

/** Whether the address may read everything without a token. */
export function isListed({ allow }: AdminSettings, remote: string | undefined): boolean {
  if (allow === undefined || remote === undefined) return false
  // IPv4 on a socket of IPv6 comes as ::ffff:10.0.0.1.
  const address = canonicalAddress(remote) ?? remote
  return allow.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
}

export interface AdminRefusal {
  readonly status: number
  readonly why: string
}

const LOOPBACK_HOST = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i
const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '::1'])

/** `probe`: the path is one. `undefined`: the request is answered. */
export function refuse(settings: AdminSettings, request: IncomingMessage, probe: boolean): AdminRefusal | undefined {
  if (request.method !== 'GET' && !(probe && request.method === 'HEAD')) return { status: 405, why: 'only GET' }
  if (probe) return undefined
  const { headers } = request
  const site = headers['sec-fetch-site']
  if (headers.origin !== undefined || (site !== undefined && site !== 'none' && site !== 'same-origin')) {
    return { status: 403, why: 'not for other web pages' }
  }
  const { host, token } = settings
  if (token !== undefined && sameText(headers.authorization ?? '', `Bearer ${token}`)) return undefined
  // A web page may have had its name lead here (DNS rebinding). Its browser says what it does.
  if (isListed(settings, request.socket.remoteAddress)) {
    return site === 'same-origin' ? { status: 403, why: 'not for web pages, without a token' } : undefined
  }
  if (token !== undefined) return { status: 401, why: 'a token is needed' }
  if (!LOOPBACK.has(host)) {
    const why = 'from this address, only /livez and /readyz; admin.allow or admin.token let others read more'
    return { status: 403, why }
  }
  return LOOPBACK_HOST.test(headers.host ?? '')
    ? undefined
    : { status: 403, why: 'the host header must be localhost, 127.0.0.1 or [::1]' }
}

/** Compares digests, because comparing texts would reveal the token's length. */
function sameText(a: string, b: string): boolean {
  return timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest())
}
