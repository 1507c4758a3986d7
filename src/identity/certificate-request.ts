/**
 * Requests a certificate for a new key, and checks the answer like a stranger's before it becomes
 * our identity.
 */
import type { Clock } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import { formatDuration } from '../options/duration.ts'
import type { Identity } from './identity.ts'
import { formerRoots, makeIdentity } from './identity-check.ts'
import type { JoinResponse } from './issued-certificate.ts'
import { generateIdentityKey, privateKeyPem } from './key.ts'
import { createSigningRequest } from './signing-request.ts'
import { bundleOf } from './trust-bundle.ts'
import { clockMistake } from './validity.ts'

/** An answer with the key that it is for. */
interface Answer extends Issued {
  /** PEM; what the request was signed with. */
  readonly privateKey: string
}

/**
 * Answers a signing request within `timeoutMs`. `current` is the identity to ask with; `undefined`
 * for the first.
 */
export type Issuer = (csr: string, current: Identity | undefined, timeoutMs: number) => Promise<Issued>
/** What an issuer sends. */
export interface Issued extends JoinResponse {
  /** The process joined again, so its bundle replaces the former ones. */
  readonly joined?: boolean
}

/** Who requests, and from whom. */
export interface Requester {
  readonly service: string
  readonly issue: Issuer
  readonly clock: Clock
}

/** Makes a key and requests a certificate for it. */
export async function requestCertificate(
  options: Requester,
  current: Identity | undefined,
  timeoutMs: number,
): Promise<Answer> {
  const { privateKey } = await generateIdentityKey()
  const response = await within(
    options.clock,
    timeoutMs,
    options.issue(createSigningRequest(privateKey), current, timeoutMs),
  )
  return { ...response, privateKey: privateKeyPem(privateKey) }
}

/** The identity of an answer. @throws MeshError if it cannot follow `before` */
export function acceptCertificate(
  { service, clock }: Requester,
  answer: Answer,
  before: Identity | undefined,
): { identity: Identity; lifeMs: number; offsetMs: number } {
  const { trustDomain, certificate, privateKey } = answer
  const offsetMs = answer.wallNow - clock.wallNow()
  const joining = before === undefined || answer.joined === true
  const mistake = joining ? clockMistake(clock.wallNow(), answer.wallNow) : undefined
  if (mistake !== undefined) throw new MeshError(mistake, { code: 'join-refused', service })
  if (before !== undefined && answer.joined !== true && trustDomain !== before.trustDomain) {
    const message = `The registry answered for trust domain '${trustDomain}'; this process is of '${before.trustDomain}'.`
    throw new MeshError(message, { code: 'identity-rejected', service })
  }
  const newer = before === undefined || answer.joined === true || answer.sequence >= before.sequence
  const bundle = bundleOf(newer ? answer : before)
  const former = joining ? {} : formerRoots(before, bundle.roots)
  const parts = { service, certificate, privateKey, ...bundle, ...former }
  const identity = makeIdentity(parts, (before?.generation ?? 0) + 1, clock)
  // By the clock that wrote the end into the certificate, unless what it says cannot be.
  const byIssuer = identity.notAfter - answer.wallNow
  const plausible = byIssuer > 0 && byIssuer <= identity.notAfter - identity.notBefore
  return { identity, lifeMs: plausible ? byIssuer : identity.notAfter - clock.wallNow(), offsetMs }
}

/** Rejects after `ms`; a later answer is dropped. */
function within<T>(clock: Clock, ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => {
      const message = `the registry sent no certificate in the ${formatDuration(Math.round(ms))} left for it`
      reject(new MeshError(message, { code: 'registry-unavailable', elapsedMs: ms }))
    }
    const timer = clock.startBackgroundTimer(ms, late, undefined)
    promise.then(resolve, reject).finally(() => clock.stopTimer(timer))
  })
}
