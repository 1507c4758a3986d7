/**
 * What a call inherits and routes look at: overrides of its request and baggage. Baggage may also
 * stand in the headers of the request itself.
 */
import { parseBaggage, WrittenBaggage } from '../core/baggage.ts'
import type { Call } from '../core/call.ts'
import { BAGGAGE } from '../core/carrier.ts'
import type { RequestHead } from '../core/request-head.ts'
import { sideMember } from '../routing/sticky-key.ts'

/** The call itself, or before it is made, the call that causes it. */
export type CallContext = Pick<Call, 'baggage' | 'overrides'>

/** The member of the baggage with which a call goes out. */
export function baggageOf(name: string, head: RequestHead, from: CallContext | undefined): string | undefined {
  return (from?.baggage ?? parseBaggage(head.header(BAGGAGE)))?.get(name)
}

/** The target on which earlier calls of the request put it, in splits by this member. */
export function sideOf(name: string, head: RequestHead, from: CallContext | undefined): string | undefined {
  return baggageOf(sideMember(name), head, from)
}

/**
 * Keeps the calls that `call` causes on the side `target`, in splits by the member `name`; and so
 * the calls that its parent makes after it. Baggage in the request's header stays as it is written,
 * also where the limits leave no room for one more member.
 */
export function keepSide(call: Call & Pick<RequestHead, 'header'>, name: string, target: string): void {
  const written = call.baggage instanceof WrittenBaggage ? call.baggage.text : call.header(BAGGAGE)
  const asWritten = call.baggage === undefined || call.baggage instanceof WrittenBaggage
  const baggage = call.baggage ?? parseBaggage(written)
  const side = sideMember(name)
  if (baggage?.has(name) !== true || baggage.get(side) === target) return
  call.baggage = asWritten
    ? (WrittenBaggage.with(written!, side, target) ?? call.baggage)
    : new Map(baggage).set(side, target)
  const { parent } = call
  if (parent?.baggage?.get(name) !== baggage.get(name)) return
  parent!.baggage = new Map(parent!.baggage).set(side, target)
}
