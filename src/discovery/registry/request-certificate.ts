/**
 * One request for a certificate: with a join token (none for a `--dev` registry on loopback), or
 * with the certificate in force.
 */
import type { Clock } from '../../core/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { JoinResponse } from '../../identity/issued-certificate.ts'
import { askRegistry, isPassing, type RegistryTls, refusalCodeOf, refusalOf } from './request.ts'
import { labelOf, type RegistryTarget } from './target.ts'
import type { JoinRequest, RenewRequest } from './wire.ts'

/** A request of {@link requestCertificate}, with the TLS that fits it. */
export type CertificateRequest =
  | { readonly path: '/v1/join'; readonly body: JoinRequest }
  | { readonly path: '/v1/renew'; readonly body: RenewRequest }

/**
 * @throws MeshError `registry-unavailable` when there is no answer in time, `join-refused` with the
 * registry's own reason when it says no (`cause`: its code).
 */
export async function requestCertificate(
  target: RegistryTarget,
  tls: RegistryTls,
  { path, body }: CertificateRequest,
  clock: Clock,
  timeoutMs?: number,
  signal?: AbortSignal,
): Promise<JoinResponse> {
  const said = await askRegistry(target, tls, path, body, clock, timeoutMs, signal)
  if (said.status !== 200) {
    throw new MeshError(`the registry refused a certificate${refusalOf(said)}`, {
      code: isPassing(said) ? 'registry-unavailable' : 'join-refused',
      endpoint: labelOf(target),
      cause: refusalCodeOf(said),
    })
  }
  const answer = said.body
  const { trustDomain, certificate } = answer
  const [roots, intermediates, denied] = [answer.roots, answer.intermediates ?? [], answer.denied ?? []].map(textsOf)
  if (
    typeof trustDomain !== 'string' ||
    typeof certificate !== 'string' ||
    roots === undefined ||
    intermediates === undefined ||
    denied === undefined
  ) {
    throw new MeshError('the registry sent no certificate', { code: 'registry-unavailable', endpoint: labelOf(target) })
  }
  return {
    trustDomain,
    certificate,
    roots,
    intermediates,
    denied,
    sequence: Number.isSafeInteger(answer.sequence) ? (answer.sequence as number) : 0,
    wallNow: Number.isSafeInteger(answer.wallNow) ? (answer.wallNow as number) : clock.wallNow(),
    registries: Number.isSafeInteger(answer.registries) ? (answer.registries as number) : 1,
  }
}

function textsOf(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) && value.every((one) => typeof one === 'string') ? value : undefined
}
