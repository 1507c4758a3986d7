/** The identity of a client in a test, which changes when the test says so. */
import type { ClientIdentity } from '../../src/client/client-identity.ts'
import { systemClock } from '../../src/core/clock.ts'
import type { Identity, IdentitySource } from '../../src/identity/identity.ts'
import { PeerVerifier } from '../../src/identity/peer-verifier.ts'

export class ChangingIdentity implements IdentitySource {
  current: Identity
  readonly #listeners = new Set<(identity: Identity) => void>()

  constructor(identity: Identity) {
    this.current = identity
  }

  onRotate(listener: (identity: Identity) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  rotate(identity: Identity): void {
    this.current = identity
    for (const listener of this.#listeners) listener(identity)
  }

  get listeners(): number {
    return this.#listeners.size
  }
}

export function clientIdentity(identity: Identity): { source: ChangingIdentity; identity: ClientIdentity } {
  const source = new ChangingIdentity(identity)
  return { source, identity: { source, verifier: new PeerVerifier(systemClock, identity) } }
}
