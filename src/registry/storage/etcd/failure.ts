/** Why a request to etcd failed: what to do next, and what to say to an operator. */
import { Code } from './status-codes.ts'

/**
 * `transient`: the same request may succeed, here or at another node. `token`: after authenticating
 * again. `final`: not before somebody changes something.
 */
export type FailureKind = 'transient' | 'token' | 'final'

/** What grpc-js rejects with. */
interface ServiceError extends Error {
  readonly code: number
  readonly details: string
}

const TRANSIENT: ReadonlySet<number> = new Set([
  Code.cancelled,
  Code.unknown,
  Code.deadlineExceeded,
  Code.aborted,
  Code.internal,
  Code.unavailable,
])
const BAD_TOKEN = /invalid auth token|revision of auth store is old|auth revision|token is old/i
const TLS_REFUSED = /certificate|self.signed|altname|unable to verify|wrong version number|SSL|TLS|EPROTO/i
/** What a client without TLS sees of a server with TLS. */
const CLOSED = /^Failed to connect|Socket closed|ECONNRESET/
const NOT_ETCD = /protocol error|HTTP status|Parse Error|unknown service|PROTOCOL_ERROR|unimplemented/i

export class EtcdFailure extends Error {
  override readonly name = 'EtcdFailure'
  readonly kind: FailureKind
  readonly code: number
  /** It answered nothing in time, so its connection may be dead. */
  readonly unresponsive: boolean
  /** What is there is not what was configured; time alone does not mend that. */
  readonly mistaken: boolean
  /** As etcd or grpc-js says it. */
  readonly details: string

  constructor(address: string, error: unknown) {
    const { code = Code.unknown, details = String(error) } = error as Partial<ServiceError>
    const kind = kindOf(code, details)
    super(describe(address, code, details), { cause: error })
    this.code = code
    this.details = details
    this.kind = kind
    this.unresponsive = code === Code.deadlineExceeded
    this.mistaken = code === Code.unavailable && isMistake(details)
  }
}

function kindOf(code: number, details: string): FailureKind {
  if (BAD_TOKEN.test(details)) return 'token'
  if (code === Code.unauthenticated) return 'token'
  if (code === Code.resourceExhausted) return /too many requests/i.test(details) ? 'transient' : 'final'
  if (code === Code.unimplemented) return 'final'
  return TRANSIENT.has(code) ? 'transient' : 'final'
}

function isMistake(details: string): boolean {
  return details.includes('Last error') && (TLS_REFUSED.test(details) || NOT_ETCD.test(details))
}

function describe(address: string, code: number, details: string): string {
  const reason = shortened(details)
  if (/database space exceeded/.test(details)) {
    return `etcd at ${address} is out of space: compact and defragment it, then disarm its alarm`
  }
  if (/request is too large|larger than max/i.test(details)) {
    return `the change is larger than etcd takes (${reason}): make it smaller, or raise --max-request-bytes of etcd`
  }
  if (/too many operations/.test(details)) {
    return `etcd at ${address} refuses the transaction: its --max-txn-ops must be at least 128`
  }
  if (/authentication failed/.test(details)) {
    return `etcd at ${address} refuses the user or its password (store.user, --etcd-user): ${reason}`
  }
  if (/authentication is not enabled/.test(details)) {
    return `etcd at ${address} has no authentication enabled: leave out the user (store.user, --etcd-user)`
  }
  if (/user name is empty/.test(details)) {
    return `etcd at ${address} wants a user and a password (store.user, --etcd-user): ${reason}`
  }
  if (code === Code.permissionDenied) {
    return `the user of etcd may not read and write the prefix of the store (store.user, --etcd-user): ${reason}`
  }
  if (code === Code.deadlineExceeded) return `etcd at ${address} does not answer in time`
  if (details.includes('Last error') && TLS_REFUSED.test(details)) {
    const options = 'store.ca, store.cert and store.key; --etcd-ca, --etcd-cert and --etcd-key'
    return `the connection to etcd at ${address} is not secured as asked (${options}): ${reason}`
  }
  if (code === Code.unimplemented || NOT_ETCD.test(details)) {
    return `what listens at ${address} is no etcd of version 3.4 or later (store, --store): ${reason}`
  }
  if (CLOSED.test(reason)) return `etcd at ${address}: ${reason} (if it wants TLS: etcds:// or store.ca, --etcd-ca)`
  return `etcd at ${address}: ${reason}`
}

/** Without what grpc-js adds to it. */
function shortened(details: string): string {
  const reason = /Last error: (?:Error: )?(.*?)(?:\. Resolution note:.*)?$/s.exec(details)?.[1] ?? details
  return reason
    .replace(/ \(\d{4}-\d\d-\d\dT[^)]*\)/, '')
    .replaceAll(/\s+/g, ' ')
    .slice(0, 300)
}
