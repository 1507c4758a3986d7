/** `POST /v1/jwt`: a token of the caller for one audience. */
import { TOKEN_LIFE_MS } from '../../discovery/registry/wire.ts'
import { fields, text, withDefault } from '../../options/fields.ts'
import { duration } from '../../options/quantities.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { auditRefusal, checkBody } from './handling.ts'
import { readJson, sendJson } from './request.ts'

const JWT = fields({
  // Of visible ASCII characters: it is compared byte by byte.
  audience: text('an audience of visible characters, such as a SPIFFE id, a service or a URL', /^[\x21-\x7e]+$/, 512),
  ttlMs: withDefault(duration({ min: TOKEN_LIFE_MS.least, max: TOKEN_LIFE_MS.most }), TOKEN_LIFE_MS.byDefault),
})

export async function signToken(context: ApiContext, { request, response, caller }: ApiRequest): Promise<void> {
  const { signer, audit, clock } = context
  try {
    const { audience, ttlMs } = checkBody(JWT, await readJson(request, clock), 'jwt')
    sendJson(response, 200, await signer.sign(caller, audience, ttlMs))
  } catch (error) {
    throw auditRefusal(audit, 'jwt', caller, caller.service, error)
  }
}
