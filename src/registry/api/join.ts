/** Joining by a join token, and renewing by the certificate in force. */
import { createHash, type KeyObject } from 'node:crypto'
import { MESH_DOCUMENT } from '../../discovery/policy-document.ts'
import type { JoinResponse } from '../../identity/issued-certificate.ts'
import { serviceId } from '../../identity/spiffe-id.ts'
import { fields, optional, text } from '../../options/fields.ts'
import { serviceName } from '../../options/names.ts'
import type { JoinTokens } from '../access/tokens.ts'
import { sourceGroup } from '../address-policy.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { type ApiCode, ApiError } from './error.ts'
import { auditRefusal, checkBody } from './handling.ts'
import { readJson, sendJson } from './request.ts'

const JOIN = fields({
  service: serviceName(),
  csr: text('a signing request in PEM', /^[\s\S]+$/, 16_384),
  token: optional(text('a join token', /^[A-Za-z0-9._-]+$/, 256)),
})

const RENEW = fields({ csr: text('a signing request in PEM', /^[\s\S]+$/, 16_384) })
/** A signing request in JSON, and a token. */
const LONGEST_JOIN = 32_768
/** Refusals of a caller that tries one token after the other. */
const GUESSES: ReadonlySet<ApiCode> = new Set([
  'token-missing',
  'token-unknown',
  'token-used',
  'token-expired',
  'token-wrong-service',
  'csr-invalid',
  'invalid-request',
])

const TOO_MANY_GUESSES = 'too many joins from this address were refused; try again later'
export async function join(context: ApiContext, { request, response, caller }: ApiRequest): Promise<void> {
  const { authority, audit, tokens, joins, clock, dev, denials, fleet } = context
  let service: string | undefined
  const group = sourceGroup(caller.source)
  try {
    const body = checkBody(JOIN, await readJson(request, clock, LONGEST_JOIN), 'join')
    service = body.service
    if (service === MESH_DOCUMENT) throw new ApiError('invalid-request', `'${MESH_DOCUMENT}' is not a service`)
    // Before everything that costs: a valid token pays with its uses, and no stranger takes a place
    // in the queue.
    const keyOf = (): KeyObject => authority.readRequest(body.csr)
    // A registry that shares its store may hear of a token a moment after the one that issued it.
    // A source that guesses too often does not make it ask.
    if (body.token !== undefined && fleet.size > 1 && !tokens.isKnown(body.token) && joins.has(group)) {
      await tokens.catchUp(body.token)
    }
    checkToken(tokens, body.token, service, keyOf, dev)
    const spiffeId = serviceId(authority.trustDomain, service)
    denials.check(spiffeId)
    const key = keyOf()
    await authority.admitSigning(service)
    // At the end, so that a bad request or a busy registry does not cost a use.
    if (body.token !== undefined) await tokens.redeem(body.token, service, hashOf(key))
    denials.check(spiffeId)
    const answer: JoinResponse = { ...authority.issue(service, key), registries: fleet.size }
    audit.record({ who: caller.name, source: caller.source, action: 'join', outcome: 'done', service })
    sendJson(response, 200, answer)
  } catch (error) {
    // Guesses are counted by source; one more while they are too many is not worth an answer of its
    // own.
    const guess = error instanceof ApiError && GUESSES.has(error.code)
    const refusal = guess && !joins.take(group) ? new ApiError('rate-limited', TOO_MANY_GUESSES) : error
    throw auditRefusal(audit, 'join', caller, service, refusal)
  }
}

function checkToken(
  tokens: JoinTokens,
  token: string | undefined,
  service: string,
  keyOf: () => KeyObject,
  dev: boolean,
): void {
  if (token !== undefined) tokens.check(token, service, () => hashOf(keyOf()))
  else if (!dev) throw new ApiError('token-missing', 'joining needs a join token: inmesh token create')
}

/** SHA-256 of the public key, base64url. */
function hashOf(key: KeyObject): string {
  const spki = key.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(spki).digest('base64url')
}

export async function renew(context: ApiContext, { request, response, caller }: ApiRequest): Promise<void> {
  const { authority, audit, clock, denials, fleet } = context
  const { service, spiffeId } = caller
  try {
    if (service === undefined) throw new ApiError('identity-required', 'renewing needs the certificate in force')
    const body = checkBody(RENEW, await readJson(request, clock, LONGEST_JOIN), 'renew')
    const key = authority.readRequest(body.csr)
    await authority.admitSigning(service)
    // Since the request began.
    denials.check(spiffeId!)
    sendJson(response, 200, { ...authority.issue(service, key), registries: fleet.size } satisfies JoinResponse)
  } catch (error) {
    throw auditRefusal(audit, 'renew', caller, service, error)
  }
}
