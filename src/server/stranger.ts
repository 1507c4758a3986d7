/** A peer that is not let in, and what a person reads who sees its connection end. */
import type { PeerRefusal } from '../identity/peer-verifier.ts'

/**
 * `plaintext`: it speaks no TLS to a port that requires mutual TLS. `protocol-error`: it may come
 * in, and speaks none of the port's protocols.
 */
export type StrangerReason = PeerRefusal | 'plaintext' | 'protocol-error'

export interface Stranger {
  readonly reason: StrangerReason
  /** What this port is, and what to do. Printable ASCII, without `%`. */
  readonly notice: string
  /** Whether it named its protocol, by ALPN or by its first bytes. */
  readonly named: boolean
}

/** Whether it shows no certificate, so that it is no process of a mesh. */
export function isForeign({ reason }: Stranger): boolean {
  return reason === 'plaintext' || reason === 'no-certificate' || reason === 'protocol-error'
}

/** It names nothing that our certificate does not show in each handshake. */
export function noticeFor(reason: StrangerReason, service: string, speaks: readonly string[]): string {
  const what =
    reason === 'protocol-error'
      ? `speaks ${speaks.join(' or ')} only`
      : 'requires mutual TLS with a certificate of its mesh'
  const { why, advice } = EXPLANATIONS[reason] ?? {
    why: `it refuses the certificate of this connection (${reason})`,
    advice: ['Call it from a process that has joined its mesh.'],
  }
  return [`This port of the service '${service}' ${what}, and ${why}. Nothing was executed.`, ...advice].join(' ')
}

interface Explanation {
  readonly why: string
  readonly advice: readonly string[]
}

const EXPLANATIONS: { readonly [K in StrangerReason]?: Explanation } = {
  plaintext: {
    why: 'this connection is plaintext',
    advice: [
      'Call it from a process that has joined its mesh,',
      "or serve with mode: 'permissive' to take plaintext on this port, too.",
    ],
  },
  'no-certificate': {
    why: 'this connection shows none',
    advice: ['Call it from a process that has joined its mesh.'],
  },
  'protocol-error': { why: 'this connection speaks something else', advice: [] },
}
