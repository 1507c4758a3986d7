/**
 * Identifies the caller of a request and checks its rights, its Host and its Origin.
 */
import { isIP } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { isLoopback } from '../address-policy.ts'
import { ApiError } from '../api/error.ts'
import { authorityOf, type IncomingRequest } from '../api/request.ts'
import type { AuthenticatedOperator } from './operators.ts'

/** Decided once per connection. */
export interface Peer {
  /** `undefined`: no certificate. */
  readonly spiffeId: string | undefined
  readonly service: string | undefined
  /** The certificate's end, wall clock in ms. */
  readonly notAfter: number
  /**
   * Why the certificate that was shown is not accepted; whatever is asked is answered with that.
   */
  readonly refused?: string
  readonly source: string
}

export interface Caller extends Peer {
  readonly admin: boolean
  /** An operator, also one that may only read. */
  readonly operator: boolean
  /** Whether the token that was shown is good still; `undefined`: none was shown. */
  readonly isValid: (() => boolean) | undefined
  /** Another registry of this mesh, by its certificate. */
  readonly registry: boolean
  /** For the audit log. */
  readonly name: string
}

/**
 * What a request needs: nothing; any identity of the mesh; an operator, who may only read; an
 * operator who may change something; another registry.
 */
export type Access = 'public' | 'read' | 'operator' | 'admin' | 'registry'

export interface AccessOptions {
  readonly dev: boolean
  /** The SPIFFE id of all registries of this mesh. */
  readonly registryId: string
  /**
   * Lower-case names, besides literal addresses and `localhost`, under which the registry is
   * reached.
   */
  readonly names: ReadonlySet<string>
  /** The operator of a token. */
  readonly authenticate: (token: string) => AuthenticatedOperator | undefined
}

const FORWARDED = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip'] as const

export function callerOf(request: IncomingRequest, peer: Peer, options: AccessOptions): Caller {
  const { authorization } = request.headers
  if (authorization !== undefined) {
    const text = /^Bearer +(\S+) *$/i.exec(authorization)?.[1] ?? ''
    const found = options.authenticate(text)
    if (found === undefined) {
      throw new ApiError(
        'admin-required',
        'the admin token is not one of this registry, or it was revoked or has expired',
      )
    }
    const { name, access, isValid } = found
    return { ...peer, admin: access === 'admin', operator: true, isValid, registry: false, name }
  }
  const admin = options.dev && isLoopback(peer.source) && !isForwarded(request)
  const name = peer.spiffeId ?? (admin ? 'dev' : 'anonymous')
  return { ...peer, admin, operator: admin, isValid: undefined, registry: peer.spiffeId === options.registryId, name }
}

/** By a proxy or a tunnel on this machine, for a caller who need not be on it. */
function isForwarded({ headers }: IncomingRequest): boolean {
  return FORWARDED.some((name) => headers[name] !== undefined)
}

/**
 * @throws ApiError `identity-required`, because the certificate of this connection is not valid, or
 * no longer
 */
export function checkCertificate({ refused, notAfter }: Peer, now: number): void {
  if (refused !== undefined) throw new ApiError('identity-required', `the certificate is not accepted: ${refused}`)
  if (now < notAfter) return
  const end = new Date(notAfter).toISOString()
  throw new ApiError('identity-required', `the certificate of this connection has ended, at ${end}`)
}

export function checkAccess(caller: Caller, access: Access): void {
  if (access === 'registry') {
    if (caller.registry) return
    throw new ApiError('identity-required', 'this is for other registries of the mesh, by their certificate')
  }
  if (access === 'public' || caller.admin || (caller.operator && access !== 'admin')) return
  if (access === 'read') {
    if (caller.spiffeId === undefined) {
      throw new ApiError('identity-required', 'this needs a certificate of the mesh or the admin token')
    }
    return
  }
  if (caller.operator) throw new ApiError('admin-required', `${caller.name} may read and not change anything`)
  throw new ApiError('admin-required', "this needs an admin token; send it as 'Authorization: Bearer <token>'")
}

/**
 * Refuses names that somebody else's DNS made point here (DNS rebinding). A caller with a
 * certificate is no web page.
 */
export function checkHost(request: IncomingRequest, peer: Peer, access: Access, options: AccessOptions): void {
  if (peer.spiffeId !== undefined || (access === 'public' && !options.dev)) return
  const authority = authorityOf(request)
  const host = hostOf(authority)
  if (host !== undefined && (isIP(host) !== 0 || host === 'localhost' || options.names.has(host))) return
  const hint = host === undefined ? '' : `; start it with --name ${host.slice(0, 100)}`
  throw new ApiError('host-refused', `'${(host ?? authority).slice(0, 100)}' is not a name of this registry${hint}`)
}

/** Refuses what a page of another origin asks for, or makes a browser load. */
export function checkOrigin(request: IncomingRequest): void {
  const { origin } = request.headers
  // None is an address that somebody typed. Old browsers, and clients that are none, do not say it.
  const site = request.headers['sec-fetch-site'] ?? 'none'
  if ((site === 'none' || site === 'same-origin') && (origin === undefined || isOwn(origin, request))) return
  throw new ApiError('origin-refused', 'a page of another origin may neither read nor change anything here')
}

/** The page in plain text (ui/page-listener) has `http`; with `https` there, a proxy ends TLS. */
function isOwn(origin: string, request: IncomingRequest): boolean {
  const authority = authorityOf(request)
  return origin === `https://${authority}` || (!isEncrypted(request) && origin === `http://${authority}`)
}

export function isEncrypted(request: IncomingRequest): boolean {
  return (request.socket as TLSSocket).encrypted === true
}

function hostOf(authority: string): string | undefined {
  if (!/^[A-Za-z0-9.:[\]-]{1,260}$/.test(authority)) return undefined
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+))(?::\d{1,5})?$/.exec(authority)
  return (match?.[1] ?? match?.[2])?.toLowerCase()
}
