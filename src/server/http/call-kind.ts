/** Kinds of served calls, one for each service and HTTP method. */
import type { CallKind } from '../../core/call.ts'

/** Bounded, because the parser accepts a few dozen methods. */
const kinds = new Map<string, Map<string, CallKind>>()

export function kindOf(service: string, method: string): CallKind {
  let ofService = kinds.get(service)
  if (ofService === undefined) {
    ofService = new Map()
    kinds.set(service, ofService)
  }
  let kind = ofService.get(method)
  if (kind === undefined) {
    kind = Object.freeze({ service, method, protocol: 'http', streaming: false, idempotent: false })
    ofService.set(method, kind)
  }
  return kind
}
