/** The identity that a client shows to servers, and the verifier of theirs. */
import type { IdentitySource } from '../identity/identity.ts'
import type { PeerVerifier } from '../identity/peer-verifier.ts'

/** Who we are towards servers; without it only plaintext endpoints can be reached. */
export interface ClientIdentity {
  readonly source: IdentitySource
  readonly verifier: PeerVerifier
}
