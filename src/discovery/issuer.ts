/**
 * Where this process's certificates come from: the registry, asked over first contact while there is no identity, and over mTLS with
 * the current one afterwards. Several addresses are tried in order.
 */
import type { Clock } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import { pinnedTlsOptions, unpinnedTlsOptions } from '../identity/first-contact.ts'
import type { Identity } from '../identity/identity.ts'
import { parseToken, rootFingerprint } from '../identity/join-token.ts'
import { PeerVerifier } from '../identity/peer-verifier.ts'
import type { Issuer } from '../identity/rotation.ts'
import { clientTlsOptions } from '../identity/tls-options.ts'
import { requestCertificate } from './join.ts'
import type { JoinResponse } from './wire.ts'

export interface IssuerOptions {
  readonly addresses: readonly string[]
  readonly service: string
  readonly joinToken: string | undefined
  readonly clock: Clock
}

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

export function registryIssuer(options: IssuerOptions): Issuer {
  return async (csr, current) => {
    let failure: unknown
    for (const address of options.addresses) {
      try {
        return await issueFrom(address, options, csr, current)
      } catch (error) {
        failure = error
        // A registry that says no would say it again elsewhere: they share their state.
        if (!(error instanceof MeshError) || error.code === 'join-refused') throw error
      }
    }
    throw failure
  }
}

/**
 * The fingerprint of the root that a registry on loopback presents, for a process without a token: what is kept on disk of another
 * registry, such as yesterday's development one, is then not used. `undefined`: not on loopback, or nobody answers.
 */
export async function presentedFingerprint(addresses: readonly string[], clock: Clock): Promise<string | undefined> {
  for (const address of addresses) {
    const url = new URL(address)
    if (!LOOPBACK.has(url.hostname)) return undefined
    try {
      const contact = await unpinnedTlsOptions(hostAndPort(url, clock))
      return rootFingerprint(contact.root)
    } catch {
      // Nobody there: then what is on disk is all there is.
    }
  }
  return undefined
}

function hostAndPort(url: URL, clock: Clock): { host: string; port: number; clock: Clock } {
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 443), clock }
}

function issueFrom(
  address: string,
  options: IssuerOptions,
  csr: string,
  current: Identity | undefined,
): Promise<JoinResponse> {
  const { clock, joinToken } = options
  const usable = current !== undefined && current.notAfter > clock.wallNow()
  if (current !== undefined && (usable || joinToken === undefined)) {
    const verifier = new PeerVerifier(clock, current)
    const tls = clientTlsOptions(current, verifier, { registry: true })
    return requestCertificate(address, tls, { path: '/v1/renew', body: { csr } }, clock)
  }
  return join(address, options, csr)
}

async function join(address: string, options: IssuerOptions, csr: string): Promise<JoinResponse> {
  const { clock, service, joinToken } = options
  const url = new URL(address)
  const at = hostAndPort(url, clock)
  if (joinToken === undefined) {
    if (!LOOPBACK.has(url.hostname)) {
      throw new MeshError(
        `joining ${address} needs a join token (option joinToken, variable INMESH_JOIN_TOKEN; made by 'inmesh token create --service ${service}'); only a registry on loopback started with --dev does without`,
        { code: 'join-refused', service, endpoint: address },
      )
    }
    const contact = await unpinnedTlsOptions(at)
    return requestCertificate(address, contact.tls, { path: '/v1/join', body: { service, csr } }, clock)
  }
  const token = parseToken(joinToken)
  if (token?.kind !== 'join') {
    throw new MeshError('the join token is not valid', { code: 'join-refused', service, endpoint: address })
  }
  const contact = await pinnedTlsOptions({ ...at, fingerprint: token.fingerprint })
  const body = { service, csr, token: token.secret }
  return requestCertificate(address, contact.tls, { path: '/v1/join', body }, clock)
}
