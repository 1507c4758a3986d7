/**
 * Requests this process's certificates from the registry: over mTLS while one is valid, otherwise
 * by joining with a token.
 */
import type { Clock } from '../../core/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { Issuer } from '../../identity/certificate-request.ts'
import { type FirstContact, pinnedTlsOptions, unpinnedTlsOptions } from '../../identity/first-contact.ts'
import type { Identity } from '../../identity/identity.ts'
import type { JoinResponse } from '../../identity/issued-certificate.ts'
import type { Token } from '../../identity/join-token.ts'
import { PeerVerifier } from '../../identity/peer-verifier.ts'
import { clientTlsOptions, refusalOf } from '../../identity/tls-options.ts'
import { clockMistake, isValidNow } from '../../identity/validity.ts'
import type { RegistryAddresses } from './addresses.ts'
import { firstAddress } from './first-address.ts'
import { newToken, rootReplaced } from './replaced-root.ts'
import { askRegistry, type RegistryTls } from './request.ts'
import { requestCertificate } from './request-certificate.ts'
import { hostOf, isOnLoopback, labelOf, portOf, type RegistryTarget } from './target.ts'

export interface IssuerOptions {
  readonly addresses: RegistryAddresses
  readonly service: string
  readonly joinToken: JoinTokenSource
  readonly clock: Clock
}

/** Gives a join token each time this process joins. */
export interface JoinTokenSource {
  /**
   * `undefined`: there is none. @throws MeshError `join-refused` with what to do, after `timeoutMs`
   * at the latest
   */
  ask(timeoutMs: number): Promise<Token | undefined>
  /** The token is about to be shown to a registry, which may take one of its uses. */
  spent(): void
}

/** Of the time left for joining, what the token may take. */
export const TOKEN_SHARE = 0.8
/** How long a registry has to present its root, for an error's sake. */
const ROOT_TIMEOUT_MS = 1_000

/** A registry that says no would say it again elsewhere: they share their state. */
const isFinal = (error: unknown): boolean => !(error instanceof MeshError) || error.code === 'join-refused'

export function registryIssuer(options: IssuerOptions): Issuer {
  return async (csr, current, timeoutMs) => {
    const untilAt = options.clock.now() + timeoutMs
    if (current !== undefined && isValidNow(current, options.clock)) {
      try {
        return await renew(options, csr, current, timeoutMs)
      } catch (error) {
        // By the registry's clock it has ended.
        if (!(error instanceof MeshError) || error.cause !== 'identity-required') throw error
      }
    }
    return { ...(await join(options, csr, untilAt)), joined: current !== undefined }
  }
}

/** The roots that a registry presents. */
export interface PresentedRoots {
  /** Its address. */
  readonly registry: string
  /** At least one; two while a root is being replaced. */
  readonly fingerprints: readonly string[]
}

/**
 * The roots that a registry presents, on loopback or `anywhere`: a hint that what is kept on disk
 * is of another registry, such as yesterday's development one. `undefined`: no such registry
 * answers in time. Off loopback it proves nothing.
 */
export async function presentedRoots(
  addresses: RegistryAddresses,
  clock: Clock,
  timeoutMs: number,
  anywhere = false,
): Promise<PresentedRoots | undefined> {
  const asked = await (anywhere ? addresses.targets() : addresses.onLoopback())
  if (asked.length === 0) return undefined
  try {
    const { target, answer } = await firstContact(asked, undefined, clock, timeoutMs)
    if (isOnLoopback(target)) addresses.answered(target)
    return { registry: labelOf(target), fingerprints: answer.presented }
  } catch {
    // Then what is on disk is all there is.
    return undefined
  }
}

async function renew(
  { addresses, clock }: IssuerOptions,
  csr: string,
  current: Identity,
  timeoutMs: number,
): Promise<JoinResponse> {
  const tls = clientTlsOptions(current, new PeerVerifier(clock, current), { registry: true })
  const { target, answer } = await firstAddress(
    await addresses.targets(),
    (at, signal, leftMs) => requestCertificate(at, tls, { path: '/v1/renew', body: { csr } }, clock, leftMs, signal),
    { clock, timeoutMs, isFinal },
  )
  addresses.answered(target, answer.registries)
  return answer
}

/**
 * Only the first contact is side by side: two requests with one token would spend two of its uses.
 */
async function join(options: IssuerOptions, csr: string, untilAt: number): Promise<JoinResponse> {
  const { clock, service, addresses } = options
  const token = await options.joinToken.ask(Math.max(1, (untilAt - clock.now()) * TOKEN_SHARE))
  let left = await (token === undefined ? addresses.onLoopback() : addresses.targets())
  if (left.length === 0) throw tokenMissing(addresses.all, service)
  const body = token === undefined ? { service, csr } : { service, csr, token: token.secret }
  let refused: unknown
  for (;;) {
    const { target, answer } = await contact(options, left, token?.fingerprint, untilAt)
    left = left.filter((one) => one !== target)
    const leftMs = Math.max(1, untilAt - clock.now()) / (left.length === 0 ? 1 : 2)
    try {
      if (token !== undefined) await checkClock(target, answer.tls, options, leftMs)
      options.joinToken.spent()
      const response = await requestCertificate(target, answer.tls, { path: '/v1/join', body }, clock, leftMs)
      addresses.answered(target, response.registries)
      return response
    } catch (error) {
      if (mayBeKnownElsewhere(error)) refused = error
      else if (isFinal(error)) throw error
      if (left.length === 0) throw refused ?? error
    }
  }
}

/** With the roots' fingerprints and what to do, if the registry has another root than the token. */
async function contact(
  { clock, addresses, service }: IssuerOptions,
  targets: readonly RegistryTarget[],
  pinned: string | undefined,
  untilAt: number,
): ReturnType<typeof firstContact> {
  const leftMs = (): number => Math.max(1, untilAt - clock.now())
  try {
    return await firstContact(targets, pinned, clock, leftMs())
  } catch (error) {
    if (pinned === undefined || refusalOf(error)?.reason !== 'untrusted-issuer') throw error
    const presented = await presentedRoots(addresses, clock, Math.min(ROOT_TIMEOUT_MS, leftMs()), true)
    if (presented === undefined || presented.fingerprints.includes(pinned)) throw error
    const { registry, fingerprints } = presented
    throw rootReplaced({ registry, shown: fingerprints[0]!, known: [pinned], knownFrom: 'token', service })
  }
}

/** The token may be so new that this registry has not heard of it yet. */
function mayBeKnownElsewhere(error: unknown): boolean {
  return error instanceof MeshError && error.cause === 'token-unknown'
}

/** Before a use of the token is spent on a certificate that would not be accepted. */
async function checkClock(
  target: RegistryTarget,
  tls: RegistryTls,
  { clock, service }: IssuerOptions,
  timeoutMs: number,
): Promise<void> {
  const { body } = await askRegistry(target, tls, '/v1/bundle', undefined, clock, timeoutMs)
  if (!Number.isSafeInteger(body.wallNow)) return
  const mistake = clockMistake(clock.wallNow(), body.wallNow as number)
  if (mistake !== undefined) throw new MeshError(mistake, { code: 'join-refused', service, endpoint: labelOf(target) })
}

function firstContact(
  targets: readonly RegistryTarget[],
  fingerprint: string | undefined,
  clock: Clock,
  timeoutMs: number,
): Promise<{ readonly target: RegistryTarget; readonly answer: FirstContact }> {
  return firstAddress(
    targets,
    ({ url, ip }, signal, leftMs) => {
      const at = { host: ip ?? hostOf(url), port: portOf(url), clock, timeoutMs: leftMs, signal }
      return fingerprint === undefined ? unpinnedTlsOptions(at) : pinnedTlsOptions({ ...at, fingerprint })
    },
    { clock, timeoutMs, isFinal: () => false },
  )
}

function tokenMissing(addresses: readonly string[], service: string): MeshError {
  const message = `joining ${addresses.join(', ')} needs a join token: ${newToken(service)}. Only a --dev registry on loopback needs none.`
  return new MeshError(message, { code: 'join-refused', service })
}
