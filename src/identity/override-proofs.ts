/**
 * Proves who introduced the overrides of a request, over all hops: the first process signs their
 * text with the key of its certificate. Without a proof, the word of the direct peer counts.
 */
import { sign, verify, X509Certificate } from 'node:crypto'
import type { Clock } from '../core/clock.ts'
import { OVERRIDE_PROOF, parseRouteOverrides, ROUTE_OVERRIDES, type RouteOverrides } from '../core/route-overrides.ts'
import { OptionsError } from '../options/fields.ts'
import type { Identity, IdentitySource } from './identity.ts'
import type { PeerVerifier } from './peer-verifier.ts'
import { readCertificatePem } from './x509/pem.ts'

/** How long a proof counts: longer than a request and its calls take. */
const LIFE_MS = 600_000
/** A proof is made anew once this much of its life is over. */
const RENEW_MS = 120_000
/** Clocks of two processes may differ by so much. */
const SKEW_MS = 60_000
const LONGEST_PROOF = 8_192
const MOST_KEPT = 256
/** `<end, ms>.<leaf, DER>.<signature>`, the latter two in base64url. */
const PROOF = /^(\d{1,15})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/

interface Signed {
  readonly proof: string
  readonly renewAt: number
  readonly generation: number
}

interface Checked {
  readonly origin: string | undefined
  readonly endsAt: number
}

type Refused = (reason: string) => void

/** What one request asks for, with a proof that is made when it travels on. */
class Overrides implements RouteOverrides {
  readonly text: string
  readonly targets: RouteOverrides['targets']
  readonly #origin: string | undefined
  readonly #proof: string | undefined
  readonly #proofs: OverrideProofs

  constructor(
    proofs: OverrideProofs,
    text: string,
    targets: RouteOverrides['targets'],
    origin: string | undefined,
    proof: string | undefined,
  ) {
    this.text = text
    this.targets = targets
    this.#origin = origin
    this.#proof = proof
    this.#proofs = proofs
  }

  /** Our own identity may arrive later. */
  get origin(): string | undefined {
    return this.#origin ?? this.#proofs.service
  }

  get proof(): string | undefined {
    return this.#proof ?? this.#proofs.signed(this.text)
  }
}

export class OverrideProofs {
  readonly #source: IdentitySource | undefined
  readonly #verifier: PeerVerifier | undefined
  readonly #clock: Clock
  /** By text; the oldest first. */
  readonly #made = new Map<string, Signed>()
  /** By proof and text; the oldest first. */
  readonly #checked = new Map<string, Checked>()

  /** `source` and `verifier`: `undefined` where there is no identity; then nothing is proven. */
  constructor(source: IdentitySource | undefined, verifier: PeerVerifier | undefined, clock: Clock) {
    this.#source = source
    this.#verifier = verifier
    this.#clock = clock
  }

  /**
   * The overrides that this process introduces. Throws an `OptionsError` that names the header if
   * `text` is malformed.
   */
  introduce(text: string): RouteOverrides {
    const targets = parseRouteOverrides(text)
    if (typeof targets === 'string') {
      throw new OptionsError('request', [{ path: ['headers', ROUTE_OVERRIDES], message: targets }])
    }
    return new Overrides(this, text, targets, undefined, undefined)
  }

  /**
   * The overrides that a peer sent, on its word or on the proof of another process. `peer`: its
   * service, proven by its certificate. Never throws; `undefined`: `refused` has got the reason.
   */
  receive(
    text: string,
    proof: string | undefined,
    peer: string | undefined,
    refused: Refused,
  ): RouteOverrides | undefined {
    const targets = parseRouteOverrides(text)
    if (typeof targets === 'string') {
      refused(`${ROUTE_OVERRIDES} ${targets}`)
      return undefined
    }
    if (proof === undefined) {
      if (peer === undefined) refused('the caller has no identity of the mesh')
      return peer === undefined ? undefined : new Overrides(this, text, targets, peer, undefined)
    }
    const origin = this.#originOf(text, proof)
    if (origin === undefined) {
      refused(`${OVERRIDE_PROOF} is not signed by a service of the mesh for this text, or has ended`)
      return undefined
    }
    return new Overrides(this, text, targets, origin, proof)
  }

  /** @internal Our own service, once there is an identity. */
  get service(): string | undefined {
    return this.#current?.service
  }

  /** @internal Our signature under `text`; `undefined` while there is no identity. */
  signed(text: string): string | undefined {
    const identity = this.#current
    if (identity === undefined) return undefined
    const now = this.#clock.now()
    const known = this.#made.get(text)
    if (known !== undefined && now < known.renewAt && known.generation === identity.generation) return known.proof
    const leaf = readCertificatePem(identity.certificate)?.[0]
    if (leaf === undefined) return undefined
    const endsAt = Math.ceil(this.#clock.wallNow() + LIFE_MS)
    const signature = sign('sha256', signedPart(endsAt, text), identity.privateKey)
    const proof = `${endsAt}.${leaf.toString('base64url')}.${signature.toString('base64url')}`
    keep(this.#made, text, { proof, renewAt: now + RENEW_MS, generation: identity.generation })
    return proof
  }

  get #current(): Identity | undefined {
    try {
      return this.#source?.current
    } catch {
      // It has not arrived yet.
      return undefined
    }
  }

  #originOf(text: string, proof: string): string | undefined {
    if (proof.length > LONGEST_PROOF) return undefined
    const key = `${proof} ${text}`
    const known = this.#checked.get(key)
    const wallNow = this.#clock.wallNow()
    const parts = PROOF.exec(proof)
    if (parts === null) return undefined
    const endsAt = Number(parts[1])
    if (wallNow > endsAt + SKEW_MS || wallNow + LIFE_MS + SKEW_MS < endsAt) return undefined
    const leaf = Buffer.from(parts[2]!, 'base64url')
    // Asked each time: it may have been denied, or its certificate may have ended.
    const verdict = this.#verifier?.verify(leaf)
    if (verdict?.ok !== true) return undefined
    if (known !== undefined) return known.origin
    if (!isSigned(endsAt, text, leaf, Buffer.from(parts[3]!, 'base64url'))) return undefined
    keep(this.#checked, key, { origin: verdict.service, endsAt })
    return verdict.service
  }
}

function isSigned(endsAt: number, text: string, leaf: Buffer, signature: Buffer): boolean {
  try {
    return verify('sha256', signedPart(endsAt, text), new X509Certificate(leaf).publicKey, signature)
  } catch {
    return false
  }
}

/** Begins with its purpose, so that no other signature of this key can stand for it. */
function signedPart(endsAt: number, text: string): Buffer {
  return Buffer.from(`inmesh route overrides\n${endsAt}\n${text}`)
}

function keep<V>(kept: Map<string, V>, key: string, value: V): void {
  kept.delete(key)
  if (kept.size >= MOST_KEPT) kept.delete(kept.keys().next().value!)
  kept.set(key, value)
}
