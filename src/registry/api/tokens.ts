/** `POST /v1/tokens`: a new join token. */
import { MESH_DOCUMENT } from '../../discovery/policy-document.ts'
import { fields, optional, withDefault } from '../../options/fields.ts'
import { serviceName } from '../../options/names.ts'
import { duration, integer } from '../../options/quantities.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { ApiError } from './error.ts'
import { checkBody } from './handling.ts'
import { readJson, sendJson } from './request.ts'

const TTL = duration({ min: 1_000, max: 30 * 86_400_000 })
const DEFAULT_TTL_MS = 600_000
/** What a new token may be; the same from code and from the API. */
export const NEW_TOKEN = {
  service: serviceName(),
  uses: withDefault(integer({ min: 1, max: 100_000 }), 1),
  ttl: withDefault(TTL, DEFAULT_TTL_MS, '10m'),
}

const NEW_TOKEN_BODY = fields({ ...NEW_TOKEN, ttl: optional(TTL), ttlMs: optional(TTL) })
export async function createToken(
  { tokens, clock }: ApiContext,
  { request, response, caller }: ApiRequest,
): Promise<void> {
  const body = checkBody(NEW_TOKEN_BODY, await readJson(request, clock), 'token')
  if (body.service === MESH_DOCUMENT) throw new ApiError('invalid-request', `'${MESH_DOCUMENT}' is not a service`)
  const ttlMs = body.ttlMs ?? body.ttl ?? DEFAULT_TTL_MS
  const { token, record } = await tokens.create(
    { service: body.service, uses: body.uses, ttlMs },
    caller.name,
    caller.source,
  )
  sendJson(response, 201, { ...record, token })
}
