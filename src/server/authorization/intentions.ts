/** Intentions as an authorizer of served calls. */
import type { Intention } from '../../discovery/intention.ts'
import { IntentionRules } from '../../discovery/intention-rules.ts'
import type { InboundCall } from '../inbound-call.ts'
import type { Authorizer, Decision, RequestHead } from './authorizer.ts'

/** What intentions look at. */
type Caller = Pick<InboundCall, 'peer'> & { readonly kind: Pick<InboundCall['kind'], 'protocol'> }

/** An authorizer that decides synchronously. */
export interface IntentionAuthorizer extends Authorizer {
  authorize(call: Caller, head: Pick<RequestHead, 'method' | 'path'>): Decision
}

/**
 * `from: '*'` matches every service of the mesh, and with `unauthenticated` every caller. Without
 * such a rule, a caller without identity gets the default.
 *
 * @example
 * ```ts
 * const allow = [{ from: 'checkout', methods: ['GET'], paths: ['/items/*'] }]
 * const authorizer = compileIntentions(allow, 'deny')
 * authorizer.authorize(call, { method: 'GET', path: '/items/42' }).allowed // true for checkout
 * ```
 */
export function compileIntentions(allow: readonly Intention[], unnamed: 'allow' | 'deny'): IntentionAuthorizer {
  const rules = new IntentionRules(allow, unnamed)
  return { authorize: ({ peer, kind }, { method, path }) => rules.decide(kind.protocol, peer, method, path) }
}
