/**
 * TLS options from an identity, and reasons from TLS errors. TLS 1.3 only; clients never resume a
 * session, which would skip verification.
 */
import {
  type ConnectionOptions,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls'
import { isError, MeshError } from '../core/errors.ts'
import type { Identity } from './identity.ts'
import { type PeerRefusal, type PeerVerdict, type PeerVerifier, type RefusedPeer, refusePeer } from './peer-verifier.ts'
import { registryId } from './spiffe-id.ts'

const VERSIONS = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const
/** Bound of a handshake on servers. Node's default is 120 s. */
export const HANDSHAKE_TIMEOUT_MS = 5_000

/** Weak: a context lives as long as its generation. */
const contexts = new WeakMap<Identity, SecureContext>()

/** Key, certificates and bundle of one generation, made once (0.5 ms). */
export function secureContextOf(identity: Identity): SecureContext {
  let context = contexts.get(identity)
  if (context === undefined) {
    context = createSecureContext({ ...keyMaterial(identity), ...VERSIONS })
    contexts.set(identity, context)
  }
  return context
}

function keyMaterial(identity: Identity): { key: string; cert: string; ca: string[] } {
  // A peer that sends its leaf alone is verified, too: OpenSSL takes no intermediate for a root.
  const ca = [...identity.roots, ...(identity.intermediates ?? [])]
  return { key: identity.privateKey, cert: identity.certificate, ca }
}

export interface ServerTlsChoices {
  /**
   * Adds the roots to the chain: the registry does, so that a joiner who knows only the root's
   * fingerprint can see it.
   */
  readonly sendRoots?: boolean
  /**
   * Lets peers in that TLS did not accept, also those without a certificate; {@link verifyPeer}
   * tells. For joining, and to answer them.
   */
  readonly admitStrangers?: boolean
}

/**
 * For `tls.createServer`, `https.createServer` and `http2.createSecureServer`, and on each rotation
 * for `server.setSecureContext`. Every accepted connection still has to pass {@link verifyPeer}.
 */
export function serverTlsOptions(identity: Identity, choices: ServerTlsChoices = {}): TlsOptions {
  const material = keyMaterial(identity)
  if (choices.sendRoots === true) material.cert = [material.cert.trimEnd(), ...identity.roots].join('\n')
  return {
    ...material,
    ...VERSIONS,
    requestCert: true,
    rejectUnauthorized: choices.admitStrangers !== true,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  }
}

/** Whom a client means to reach. */
export type ExpectedPeer = { readonly service: string } | { readonly registry: true }

/**
 * For `tls.connect` and everything that passes options on to it. The connection fails before the
 * first byte of a request with a `MeshError` (`identity-rejected`) unless the peer is the expected
 * one.
 */
export function clientTlsOptions(
  identity: Identity,
  verifier: PeerVerifier,
  expected: ExpectedPeer,
  alpnProtocols?: readonly string[],
): ConnectionOptions {
  return {
    ...verifyingOptions(verifier, expected, identity.trustDomain),
    secureContext: secureContextOf(identity),
    ...(alpnProtocols === undefined ? {} : { ALPNProtocols: [...alpnProtocols] }),
  }
}

/**
 * The half of {@link clientTlsOptions} that needs no identity of our own: a joiner has none yet.
 */
export function verifyingOptions(
  verifier: PeerVerifier,
  expected: ExpectedPeer,
  trustDomain: string,
): ConnectionOptions {
  return {
    ...VERSIONS,
    rejectUnauthorized: true,
    servername: 'service' in expected ? expected.service : 'registry',
    checkServerIdentity: (_host: string, certificate: PeerCertificate): Error | undefined => {
      const verdict =
        'service' in expected
          ? verifier.verifyService(certificate.raw, expected.service)
          : verifier.verifyId(certificate.raw, registryId(trustDomain))
      return verdict.ok ? undefined : rejection(verdict, 'service' in expected ? expected.service : undefined)
    },
  }
}

/** The error for a refused peer; its `cause` is the verdict with the stable reason. */
export function rejection(refused: RefusedPeer, service?: string, endpoint?: string): MeshError {
  const message = `The peer's identity was refused (${refused.reason}). ${refused.detail}`
  return new MeshError(message, { code: 'identity-rejected', service, endpoint, sent: false, cause: refused })
}

/**
 * A server's verdict on an accepted connection; once per connection, before anything of it is
 * believed.
 */
export function verifyPeer(socket: TLSSocket, verifier: PeerVerifier): PeerVerdict {
  return confirm(verifier.verify(socket.getPeerX509Certificate()?.raw), socket, verifier)
}

/**
 * A client's verdict at `secureConnect`, before it says anything, on a connection that was opened
 * with `rejectUnauthorized: false` because the clock had leapt.
 */
export function verifyServer(socket: TLSSocket, verifier: PeerVerifier, service: string): PeerVerdict {
  return confirm(verifier.verifyService(socket.getPeerX509Certificate()?.raw, service), socket, verifier)
}

/**
 * The verdict on the peer of an open TLS connection, after a change of the trust bundle;
 * `undefined` if the connection is closed.
 */
export function verifyAgain(socket: object, verifier: PeerVerifier): PeerVerdict | undefined {
  const certificate = (socket as TLSSocket).getPeerX509Certificate()
  return certificate && verifier.verify(certificate.raw)
}

/**
 * What OpenSSL found counts, too, except that it knows no leap: all else about an expired leaf the
 * verifier has judged.
 */
function confirm(verdict: PeerVerdict, socket: TLSSocket, verifier: PeerVerifier): PeerVerdict {
  if (!verdict.ok || socket.authorized) return verdict
  if (codeOf(socket.authorizationError) === EXPIRED && verifier.leapt) return verdict
  const detail = `TLS refused the certificate of ${verdict.spiffeId}: ${String(socket.authorizationError)}.`
  return reasonOfTlsError(socket.authorizationError) ?? refusePeer('untrusted-issuer', detail)
}

const EXPIRED = 'CERT_HAS_EXPIRED'

/** OpenSSL's refusals (X509_V_ERR_*, as Node names them) in our words. */
const REASONS: Readonly<Record<string, PeerRefusal>> = Object.freeze({
  [EXPIRED]: 'expired',
  CERT_NOT_YET_VALID: 'not-yet-valid',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'untrusted-issuer',
  UNABLE_TO_GET_ISSUER_CERT: 'untrusted-issuer',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'untrusted-issuer',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'untrusted-issuer',
  SELF_SIGNED_CERT_IN_CHAIN: 'untrusted-issuer',
  CERT_SIGNATURE_FAILURE: 'untrusted-issuer',
  CERT_UNTRUSTED: 'untrusted-issuer',
  INVALID_CA: 'untrusted-issuer',
  PATH_LENGTH_EXCEEDED: 'untrusted-issuer',
  INVALID_PURPOSE: 'wrong-extended-key-usage',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'no-certificate',
  CA_MD_TOO_WEAK: 'weak-key',
  EE_KEY_TOO_SMALL: 'weak-key',
})

/**
 * Why a handshake failed, if the peer's certificate was the reason: on a client from the
 * connection's error, on a server from `tlsClientError`, where only the socket knows. `undefined`:
 * it failed otherwise.
 */
export function refusalOf(error: unknown, socket?: TLSSocket): RefusedPeer | undefined {
  if (error instanceof MeshError && error.code === 'identity-rejected') return error.cause as RefusedPeer
  return (
    reasonOfTlsError(socket?.authorizationError) ?? reasonOfTlsError((error as { code?: unknown } | undefined)?.code)
  )
}

/**
 * OpenSSL's words for the same (X509_verify_cert_error_string), where only the text of an error is
 * passed on, as by grpc-js.
 */
const TEXTS: readonly (readonly [RegExp, PeerRefusal])[] = [
  [/certificate has expired/, 'expired'],
  [/certificate is not yet valid/, 'not-yet-valid'],
  [/unsuitable certificate purpose/, 'wrong-extended-key-usage'],
  [/ee key too small|md too weak/, 'weak-key'],
  [
    /unable to (?:verify the first certificate|get (?:local )?issuer certificate)|self[- ]signed certificate|certificate signature failure|invalid CA certificate|path length constraint/,
    'untrusted-issuer',
  ],
]

/** {@link refusalOf} for an error of which only the text is left. */
export function refusalOfText(text: string): RefusedPeer | undefined {
  const found = TEXTS.find(([pattern]) => pattern.test(text))
  return found === undefined ? undefined : refusePeer(found[1], `TLS refused the certificate: ${text}.`)
}

function reasonOfTlsError(error: unknown): RefusedPeer | undefined {
  const code = codeOf(error)
  if (typeof code !== 'string' || !Object.hasOwn(REASONS, code)) return undefined
  return refusePeer(REASONS[code]!, `TLS refused the certificate: ${code}.`)
}

/** The typings say Error; at run time it is the code. */
function codeOf(error: unknown): unknown {
  return isError(error) ? (error as NodeJS.ErrnoException).code : error
}
