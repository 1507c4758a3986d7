/** The API of denied identities. */
import { fields, optional, text } from '../../options/fields.ts'
import { duration } from '../../options/quantities.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { ApiError } from './error.ts'
import { checkBody } from './handling.ts'
import { readJson, sendJson } from './request.ts'

/** The store keeps it, and every list and the audit log show it. */
const REASON = text('a sentence of up to 200 characters', /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+$/u, 200)

const DENIAL = fields({
  spiffeId: text('a SPIFFE id', /^[^\0]+$/, 4_096),
  reason: optional(REASON),
  forMs: optional(duration({ min: 1_000, max: 3_650 * 86_400_000 })),
})

export async function deny({ denials, authority, clock }: ApiContext, exchange: ApiRequest): Promise<void> {
  const { request, response, caller } = exchange
  const { spiffeId, reason, forMs } = checkBody(DENIAL, await readJson(request, clock), 'denial')
  const { record, change } = await denials.deny({ spiffeId, reason, forMs }, caller.name, caller.source)
  sendJson(response, change === 'denied' ? 201 : 200, { ...record, change, sequence: authority.sequence })
}

export async function allow({ denials, authority }: ApiContext, exchange: ApiRequest): Promise<void> {
  const { response, caller, parameters } = exchange
  const spiffeId = decode(parameters[0]!)
  await denials.allow(spiffeId, caller.name, caller.source)
  sendJson(response, 200, { spiffeId, allowed: true, sequence: authority.sequence })
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new ApiError('invalid-request', 'the id in the path is not percent-encoded UTF-8')
  }
}
