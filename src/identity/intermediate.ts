/**
 * Makes intermediates: authorities that a root signed, so that its key can be kept elsewhere.
 * Every name comes from the caller, never from a request.
 */
import { createPublicKey, generateKeyPairSync, hash, type KeyObject } from 'node:crypto'
import { type Issue, OptionsError } from '../options/fields.ts'
import { type Authority, checkPeriod, loadAuthority, newSerial } from './certificate.ts'
import { isP256, privateKeyPem } from './key.ts'
import { signedRequest } from './signing-request.ts'
import { authorityId } from './spiffe-id.ts'
import * as builder from './x509/certificate-builder.ts'
import * as der from './x509/der-writer.ts'

const NAMED = 'inmesh intermediate'

export interface IntermediateOptions {
  /** Wall-clock instants in ms; it does not outlive its root, so `notAfter` is cut to its end. */
  readonly notBefore: number
  readonly notAfter: number
}

/** A new key, and the certificate that `root` signed for it. Throws an `OptionsError`. */
export function createIntermediate(root: Authority, options: IntermediateOptions): Authority {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const certificate = issueIntermediate(root, { ...options, publicKey })
  return loadAuthority({ privateKey: privateKeyPem(privateKey), certificate })
}

/**
 * Signs the certificate of an intermediate that may sign leaves and no other authority; returns
 * PEM, followed by the chain of `authority`. `publicKey` (P-256) is often that of a request, whose
 * names do not count. Throws an `OptionsError`.
 */
export function issueIntermediate(
  authority: Authority,
  options: IntermediateOptions & { readonly publicKey: KeyObject },
): string {
  const { publicKey, notBefore } = options
  const notAfter = Math.min(options.notAfter, authority.notAfter)
  const issues: Issue[] = []
  if (!isP256(publicKey)) issues.push({ path: ['publicKey'], message: 'expected a P-256 key' })
  if (authority.pathLength === 0) {
    const message = 'expected an authority that may have others below it; this one has path length 0'
    issues.push({ path: ['authority'], message })
  }
  checkPeriod(notBefore, notAfter, issues)
  if (issues.length > 0) throw new OptionsError('issueIntermediate', issues)
  const certificate = builder.buildCertificate(
    {
      serial: newSerial(),
      issuer: authority.name,
      subject: intermediateName(publicKey, authority.trustDomain),
      notBefore,
      notAfter,
      publicKey,
      extensions: [
        ...intermediateExtensions(authority.trustDomain),
        builder.subjectKeyIdentifier(builder.keyIdOf(publicKey)),
        builder.authorityKeyIdentifier(authority.keyId),
      ],
    },
    authority.signingKey,
  )
  return [certificate, ...authority.chain].join('')
}

/**
 * A request in PEM for the certificate of an intermediate. It names what an authority elsewhere
 * must put into the certificate, as `openssl x509 -req -copy_extensions copy` does.
 */
export function createIntermediateRequest(privateKey: KeyObject, trustDomain: string): string {
  const extensions = der.sequence(...intermediateExtensions(trustDomain))
  const attribute = der.sequence(der.objectIdentifier(builder.OID.extensionRequest), der.set(extensions))
  return signedRequest(privateKey, intermediateName(createPublicKey(privateKey), trustDomain), attribute)
}

/** Whether a request made by inmesh is for another trust domain; those of other tools name none. */
export function isForOtherDomain(csr: string, publicKey: KeyObject, trustDomain: string): boolean {
  const bytes = Buffer.from(csr.replace(/-----[^-]+-----/g, ''), 'base64')
  return bytes.includes(NAMED) && !bytes.includes(intermediateName(publicKey, trustDomain))
}

function intermediateExtensions(trustDomain: string): Buffer[] {
  return [
    builder.basicConstraints(true, 0),
    builder.keyUsage(builder.KEY_USAGE.keyCertSign, builder.KEY_USAGE.crlSign),
    builder.subjectAltName({ uris: [authorityId(trustDomain)] }, false),
  ]
}

/** One name per key: chains are built by name, and several intermediates are in force at a time. */
function intermediateName(publicKey: KeyObject, trustDomain: string): Buffer {
  const id = hash('sha256', publicKey.export({ type: 'spki', format: 'der' }), 'hex').slice(0, 8)
  return builder.nameOf(`${NAMED} ${id} of ${trustDomain}`.slice(0, 64))
}
