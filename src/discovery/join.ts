/**
 * Asking the registry for a certificate: the first time with a join token (or nothing, with a `--dev` registry on loopback), later
 * with the certificate in force. One short request each; the answer is checked like everything else from outside.
 */
import https from 'node:https'
import type { ConnectionOptions } from 'node:tls'
import type { Clock } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import type { JoinRequest, JoinResponse, RenewRequest } from './wire.ts'

/** A certificate, its bundle and a few words are far below this. */
const LONGEST_ANSWER = 256 * 1024

/** A request of {@link requestCertificate}, with the TLS that fits it. */
export type CertificateRequest =
  | { readonly path: '/v1/join'; readonly body: JoinRequest }
  | { readonly path: '/v1/renew'; readonly body: RenewRequest }

/**
 * @throws MeshError `registry-unavailable` when there is no answer in time, `join-refused` with the registry's own reason
 * when it says no.
 */
export async function requestCertificate(
  address: string,
  tls: ConnectionOptions,
  request: CertificateRequest,
  clock: Clock,
  timeoutMs = 5_000,
): Promise<JoinResponse> {
  const { status, text } = await post(address, tls, request, clock, timeoutMs)
  const answer = parse(text)
  if (status !== 200) {
    const error = (answer.error ?? {}) as { code?: unknown; message?: unknown }
    const said = typeof error.message === 'string' ? error.message.slice(0, 500) : `status ${status}`
    const code = typeof error.code === 'string' ? ` (${error.code.slice(0, 64)})` : ''
    throw new MeshError(`the registry refused a certificate${code}: ${said}`, {
      code: status >= 500 || status === 429 ? 'registry-unavailable' : 'join-refused',
      endpoint: address,
    })
  }
  const roots = answer.roots
  if (
    typeof answer.trustDomain !== 'string' ||
    typeof answer.certificate !== 'string' ||
    !Array.isArray(roots) ||
    !roots.every((root) => typeof root === 'string')
  ) {
    throw new MeshError('the registry sent no certificate', { code: 'registry-unavailable', endpoint: address })
  }
  return {
    trustDomain: answer.trustDomain,
    certificate: answer.certificate,
    roots,
    sequence: Number.isSafeInteger(answer.sequence) ? (answer.sequence as number) : 0,
    wallNow: Number.isSafeInteger(answer.wallNow) ? (answer.wallNow as number) : clock.wallNow(),
  }
}

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

function post(
  address: string,
  tls: ConnectionOptions,
  { path, body }: CertificateRequest,
  clock: Clock,
  timeoutMs: number,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const url = new URL(path, address)
    const fail = (reason: string, cause?: unknown): void => {
      clock.stopTimer(timer)
      request.destroy()
      // A refused identity is not a registry that is away: it must not be tried again and again as if it were.
      reject(
        cause instanceof MeshError
          ? cause
          : new MeshError(`no certificate from ${address}: ${reason}`, {
              code: 'registry-unavailable',
              endpoint: address,
              cause,
            }),
      )
    }
    const timer = clock.startTimer(timeoutMs, () => fail(`no answer within ${timeoutMs} ms`), undefined)
    const text = JSON.stringify(body)
    const request = https.request(url, {
      ...(tls as https.RequestOptions),
      method: 'POST',
      agent: false,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
    })
    request.on('error', (error) => fail(error.message, error))
    request.on('response', (response) => {
      const parts: Buffer[] = []
      let size = 0
      response.on('data', (part: Buffer) => {
        size += part.length
        if (size > LONGEST_ANSWER) fail('the answer is too long')
        else parts.push(part)
      })
      response.on('error', (error) => fail(error.message, error))
      response.on('end', () => {
        clock.stopTimer(timer)
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') })
      })
    })
    request.end(text)
  })
}
