/**
 * Decides who may call a server. `served-call.ts` asks it once per request, for HTTP and gRPC
 * alike, and `admission.ts` refuses; a failing authorizer denies.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { InboundCall } from '../inbound-call.ts'

/** Allocated once per rule, so that a decision allocates nothing. */
export interface Decision {
  readonly allowed: boolean
  /** The rule that decided: `allow[2]`, or `default`. */
  readonly rule: string
}

/** The head of a request, as routers see it. */
export interface RequestHead {
  /** The HTTP method; `POST` for gRPC. */
  readonly method: string
  /** Normalized by `readPath`; `/package.Service/Method` for gRPC. */
  readonly path: string
  /** The request target as it is routed, with its query. */
  readonly target: string
  /** By lower-case names, without those that only the mesh may set. */
  readonly headers: Readonly<IncomingHttpHeaders>
}

export interface Authorizer {
  /**
   * `call.caller` is the verified peer, `undefined` without a certificate. The call's deadline
   * bounds a promise, and `call.signal` aborts when the call ends before the decision.
   */
  authorize(call: InboundCall, head: RequestHead): Decision | Promise<Decision>
}

interface AuthorizationHost {
  readonly authorizer: Authorizer
  handlerFailed(error: unknown, method: string, path?: string): void
}

const FAILED: Decision = Object.freeze({ allowed: false, rule: 'authorizer-failed' })

/** Asks the authorizer. Denies if it throws, rejects or decides nothing; never rejects. */
export function authorize(host: AuthorizationHost, call: InboundCall, head: RequestHead): Decision | Promise<Decision> {
  try {
    const decision = host.authorizer.authorize(call, head)
    if (isDecision(decision)) return decision
    return Promise.resolve(decision)
      .then(assertDecision)
      .catch((error: unknown) => failed(host, call, head, error))
  } catch (error) {
    return failed(host, call, head, error)
  }
}

function failed(host: AuthorizationHost, call: InboundCall, { target }: RequestHead, error: unknown): Decision {
  // An authorizer that stops because its call has ended is right to do so.
  if (!call.cancelled) {
    const { method, protocol } = call.kind
    host.handlerFailed(error, method, protocol === 'grpc' ? undefined : target.split('?', 1)[0])
  }
  return FAILED
}

function isDecision(value: unknown): value is Decision {
  return typeof (value as Decision | undefined)?.allowed === 'boolean'
}

function assertDecision(value: unknown): Decision {
  if (isDecision(value)) return value
  throw new TypeError('The authorizer returned no decision: expected { allowed: boolean, rule: string }.')
}
