/**
 * First contact of a process that knows only the fingerprint of the registry's root. One unverified
 * connection fetches the root; secrets go over later connections, verified against that root.
 */
import type { X509Certificate } from 'node:crypto'
import { type ConnectionOptions, connect } from 'node:tls'
import type { Clock } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import { pinnedServerName, rootFingerprint, verifyPinnedRoot } from './join-token.ts'
import { PeerVerifier, type RefusedPeer, refusePeer } from './peer-verifier.ts'
import { registryId } from './spiffe-id.ts'
import { rejection, verifyingOptions } from './tls-options.ts'
import { trustDomainOf } from './x509/certificate-reader.ts'

export interface FirstContactOptions {
  readonly host: string
  readonly port: number
  /** From the join token. */
  readonly fingerprint: string
  readonly clock: Clock
  /** Default 5 s, of the whole exchange. */
  readonly timeoutMs?: number
  /** Aborted when the answer is not needed any more. */
  readonly signal?: AbortSignal | undefined
}

export interface FirstContact {
  readonly trustDomain: string
  /** PEM; its key has the pinned fingerprint. */
  readonly root: string
  /** Fingerprints of all roots that were presented, the pinned one first; two during a rotation. */
  readonly presented: readonly string[]
  /**
   * For the connections that follow: TLS against this root, and the peer must be the registry. No
   * client certificate.
   */
  readonly tls: ConnectionOptions
}

/** Another length of a chain is not walked to its end. */
const LONGEST_CHAIN = 8

/**
 * Fetches and checks the root. Throws a `MeshError`: `registry-unavailable` if no TLS handshake
 * succeeds in time, `identity-rejected` if the pinned root is not in the chain or the leaf is not
 * the registry's.
 */
export async function pinnedTlsOptions(options: FirstContactOptions): Promise<FirstContact> {
  const { host, port, fingerprint, clock } = options
  const endpoint = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const servername = pinnedServerName(fingerprint)
  const chain = await fetchChain(options, endpoint, servername)
  const root = verifyPinnedRoot(chain, fingerprint)
  if (root === undefined) {
    const detail = `None of the ${chain.length} certificates that ${endpoint} presented has the pinned fingerprint ${fingerprint}; the token is for another registry, or somebody else answers there.`
    throw rejection(refusePeer('untrusted-issuer', detail), undefined, endpoint)
  }
  const trustDomain = trustDomainOf(root)
  if (trustDomain === undefined) {
    throw rejection(refusePeer('invalid-spiffe-id', 'The root does not name its trust domain.'), undefined, endpoint)
  }
  // The pinned root vouches for them, and there is no bundle yet.
  const intermediates = chain.slice(1).filter((one) => one.ca && !isSelfSigned(one))
  const bundle = { trustDomain, roots: [root], intermediates: intermediates.map(String), sequence: 0 }
  const verifier = new PeerVerifier(clock, bundle)
  const verdict = verifier.verifyId(chain[0]?.raw, registryId(trustDomain))
  if (!verdict.ok) throw endedByClock(verdict, endpoint) ?? rejection(verdict, undefined, endpoint)
  const tls = { ...verifyingOptions(verifier, { registry: true }, trustDomain), servername, ca: [root] }
  const roots = chain.slice(1).filter((one) => one.ca && isSelfSigned(one))
  const presented = [...new Set([fingerprint, ...roots.map((one) => rootFingerprint(one))])]
  return { trustDomain, root, presented, tls }
}

/** The right registry, whose certificate is not valid at the time that our clock shows. */
function endedByClock(refused: RefusedPeer, endpoint: string): MeshError | undefined {
  if (refused.reason !== 'expired' && refused.reason !== 'not-yet-valid') return undefined
  const message = `The clock of this machine and the registry's at ${endpoint} differ by more than 5 min. ${refused.detail} Set the clock that is wrong.`
  return new MeshError(message, { code: 'join-refused', endpoint, cause: refused })
}

/**
 * For a `--dev` registry on loopback, where there is no token and so no fingerprint: the root that
 * is presented is believed. Any program that can listen there can read this process's files,
 * too; the caller checks that it is loopback.
 */
export async function unpinnedTlsOptions(options: Omit<FirstContactOptions, 'fingerprint'>): Promise<FirstContact> {
  const { host, port } = options
  const endpoint = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const chain = await fetchChain(options, endpoint)
  const authority = chain.find((certificate) => certificate.ca && isSelfSigned(certificate))
  const fingerprint = authority === undefined ? '' : rootFingerprint(authority)
  if (verifyPinnedRoot(chain, fingerprint) === undefined) {
    const detail = `${endpoint} presented no root certificate, so it is not an inmesh registry; check the address.`
    throw rejection(refusePeer('untrusted-issuer', detail), undefined, endpoint)
  }
  return pinnedTlsOptions({ ...options, fingerprint })
}

function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate)
}

function fetchChain(
  options: Omit<FirstContactOptions, 'fingerprint'>,
  endpoint: string,
  servername = 'registry',
): Promise<readonly X509Certificate[]> {
  const { host, port, clock, timeoutMs = 5_000, signal } = options
  return new Promise((resolve, reject) => {
    // Nothing is sent and nothing but the chain is read here, which is checked by its fingerprint.
    const socket = connect({ host, port, servername, minVersion: 'TLSv1.3', rejectUnauthorized: false })
    // The timer decides whether the process is kept alive.
    socket.unref()
    const finish = (outcome: () => void): void => {
      clock.stopTimer(timer)
      signal?.removeEventListener('abort', abandon)
      socket.destroy()
      outcome()
    }
    const fail = (why: string, cause?: unknown): void =>
      finish(() => {
        const message = `The registry at ${endpoint} could not be reached: ${why}.`
        reject(new MeshError(message, { code: 'registry-unavailable', endpoint, cause }))
      })
    const abandon = (): void => fail('it is not needed any more')
    signal?.addEventListener('abort', abandon, { once: true })
    const timer = clock.startTimer(
      timeoutMs,
      () => fail(`no TLS handshake within ${Math.round(timeoutMs)} ms`),
      undefined,
    )
    socket.on('error', (error) => fail(error.message, error))
    socket.once('close', () => fail('the connection was closed'))
    socket.once('secureConnect', () => {
      const chain: X509Certificate[] = []
      let next = socket.getPeerX509Certificate()
      while (next !== undefined && chain.length < LONGEST_CHAIN) {
        chain.push(next)
        next = next.issuerCertificate
      }
      finish(() => resolve(chain))
    })
  })
}
