/**
 * What a process and a registry say to each other: newline-delimited JSON in both directions on one
 * HTTP/2 stream, `POST /v1/session`. Every message is one line of at most `LIMITS.lineBytes` with a
 * `type`. Unknown types and unknown keys are ignored in both directions, so that either side may be
 * newer; wrong values of known keys are mistakes.
 *
 * A watch resumes from (epoch, revision). The registry answers it with one `snapshot`, or, if it
 * still knows everything since that revision, with the missing `delta`s. Deltas of a service chain:
 * `previous` is the revision of the last message about that service; on a gap the process asks for
 * the service again without `since`. Revisions are never compared across epochs: a registry has a
 * new one at each start on data that may not be the last, such as a restored backup.
 */
import type { TrustBundle } from '../../identity/trust-bundle.ts'
import type { Demand } from '../../resilience/limits/global-rate-limit.ts'
import type { TapMessage, TappedMessage } from '../../telemetry/tap/tap-message.ts'
import type { Instance, UnreadableInstance } from '../instance.ts'
import type { TrafficMessage } from '../traffic/message.ts'

/**
 * 2: a registry may send its processes elsewhere while their sessions go on, and says of an
 * instance that another session holds it.
 */
export const PROTOCOL = 2
/** The oldest one that is spoken, too. */
export const LEAST_PROTOCOL = 1

/** The newest protocol that both sides speak; `undefined`: there is none. */
export function commonProtocol(most: number, hello: { readonly protocol?: unknown; readonly least?: unknown }) {
  const { protocol, least = protocol } = hello
  if (!Number.isSafeInteger(protocol) || !Number.isSafeInteger(least)) return undefined
  const common = Math.min(most, protocol as number)
  return common >= Math.max(LEAST_PROTOCOL, least as number) ? common : undefined
}

/** An instance that is no longer listed: it `left` (deregistered) or was `lost` (lease over). */
export interface Removal {
  readonly id: string
  readonly why: 'left' | 'lost'
}

export interface Since {
  readonly epoch: string
  readonly revision: number
}

/** From a process to the registry. `ref` is echoed by the answer (`done` or `error`). */
export type ClientMessage =
  | {
      type: 'hello'
      /** The newest that it speaks. A registry of protocol 1 refuses any other. */
      protocol: number
      /** The oldest; absent: `protocol`. */
      least?: number
      service: string
      process: string
      /** It sends `traffic` to a registry that asks. Absent: it sends none, or is older. */
      traffic?: true
      /** It can be tapped. Absent: it refuses, or is older. */
      tap?: true
    }
  /** Upsert; the instances of a session vanish when it has been silent for the lease's time. */
  | { type: 'register'; ref: number; instance: Instance }
  /**
   * Takes the instance out of the picker of every watcher, without ending it. Answered when stored.
   */
  | { type: 'drain'; ref: number; id: string }
  | { type: 'deregister'; ref: number; id: string }
  /**
   * Endpoints and policy of `service`. Watching again without `since` asks for a fresh snapshot.
   */
  | { type: 'watch'; service: string; since?: Since }
  | { type: 'unwatch'; service: string }
  /** Everything about `service` up to `revision` is in force in this process. */
  | { type: 'ack'; service: string; revision: number }
  /** The trust bundle of this sequence, or a newer one, is in force in this process. */
  | { type: 'trusts'; sequence: number }
  /**
   * Requests per second that the process is offered, for its share of a global rate limit: `'*'`,
   * or by the caller's service, `''` for callers without a certificate. Sent again each time.
   */
  | { type: 'demand'; perSecond: Demand }
  /** The calls of the process, to a registry that asks in its `welcome`. */
  | TrafficMessage
  /** Calls for a `tap` of the registry. */
  | TappedMessage
  /** Heartbeat: any message counts as one, this one is for when there is nothing to say. */
  | { type: 'beat' }

/** From the registry to a process. */
export type ServerMessage =
  | {
      type: 'welcome'
      protocol: number
      epoch: string
      leaseMs: number
      beatMs: number
      wallNow: number
      dev: boolean
      /** How many share the store of this one. Absent: an older registry. */
      registries?: number
      /** How often it wants a `traffic` message, at the most. Absent: never; do not count. */
      traffic?: { everyMs: number }
    }
  | {
      type: 'snapshot'
      service: string
      epoch: string
      revision: number
      instances: readonly Instance[]
      /** The policy document as applied, or `null`; `mesh` is a service name here too. */
      policy: unknown
      /** Not sent; the reader's: why `policy` is only a part of what was. */
      policyIssue?: string
      unread?: readonly UnreadableInstance[]
      /**
       * Set when the registry knows that an empty or shrunken list is meant: everything left by
       * deregistration.
       */
      intended: boolean
      /** The registry has stopped expiring instances of this service (self-preservation). */
      frozen: boolean
      /** Nothing of this name is registered, and this name, which is like it, is. */
      nearest?: string
      /** Of late, the same as in a `delta`: so that a list which lacks some says of each why. */
      gone?: readonly Removal[]
      /** Number of `part`s that follow with further instances; absent: none. */
      parts?: number
    }
  | {
      type: 'part'
      service: string
      revision: number
      part: number
      instances: readonly Instance[]
      unread?: readonly UnreadableInstance[]
    }
  | {
      type: 'delta'
      service: string
      previous: number
      revision: number
      put?: readonly Instance[]
      gone?: readonly Removal[]
      /** Absent: unchanged. `null`: deleted. */
      policy?: unknown
      /** As in a snapshot. */
      policyIssue?: string
      unread?: readonly UnreadableInstance[]
      frozen?: boolean
    }
  /** Bookmark, every 10 s while nothing changes: everything up to `revision` has been sent. */
  | { type: 'mark'; epoch: string; revision: number; wallNow: number }
  /** The trust bundle, on start and on change. An older registry sends only its roots. */
  | ({ type: 'bundle' } & TrustBundle)
  /** `isNew`: the instance that was registered was not in the list. */
  | { type: 'done'; ref: number; revision: number; isNew?: boolean }
  /** Every watcher of the draining instance's service has acknowledged its leaving. */
  | { type: 'seen'; id: string; watchers: number }
  /**
   * Removed without being asked; `expired`: the lease ended, `released`: by an operator,
   * `replaced`: another has its address.
   */
  | { type: 'unlisted'; id: string; why: string }
  | { type: 'error'; ref?: number; code: string; message: string }
  /**
   * A share of the service's global rate limit, to processes that tell their demand. `callers`:
   * what each caller has here, and every other has `share`; absent: all have `share` together.
   */
  | {
      type: 'quota'
      leaseMs: number
      /** The rate that is shared out, requests per second. */
      rate: number
      share: number
      callers?: Demand
    }
  /** An operator watches calls of the process; until `untap`, or for its time. */
  | TapMessage
  | { type: 'untap'; tap: string }
  /** Another session has registered this instance, and it alone keeps it listed. */
  | { type: 'moved'; id: string }
  /**
   * The registry goes away or is overloaded: reconnect after a jittered `retryAfterMs`. `gently`
   * (protocol 2): this session goes on until the process has one with another registry.
   */
  | { type: 'goaway'; retryAfterMs: number; gently?: boolean }

/**
 * Joins without a certificate. Body and answer of `POST /v1/join`; errors are
 * `{ error: { code, message } }`.
 */
export interface JoinRequest {
  readonly service: string
  /** PEM PKCS#10 request: only its key and its proof of possession count. */
  readonly csr: string
  /** The join token's secret part; absent with a `--dev` registry. */
  readonly token?: string
}

/**
 * Renews with the current certificate (mTLS). Body of `POST /v1/renew`; the same answer as a join.
 */
export interface RenewRequest {
  readonly csr: string
}

/** How long a token may live, and does unless the asker says otherwise. */
export const TOKEN_LIFE_MS = { byDefault: 300_000, least: 1_000, most: 3_600_000 } as const

/** Asks for a JWT-SVID of the asker (mTLS). Body of `POST /v1/jwt`. */
export interface JwtRequest {
  /** Who will be shown the token: one name, usually a SPIFFE id, a service or a URL. */
  readonly audience: string
  /** Default 5 min, at most 1 h; the token ends no later than the certificate that was shown. */
  readonly ttlMs?: number
}

export interface JwtResponse {
  readonly token: string
  readonly spiffeId: string
  readonly audience: string
  /** Wall clock of the registry, ms. */
  readonly expiresAt: number
  readonly wallNow: number
}
