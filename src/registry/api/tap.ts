/** `POST /v1/tap`: single calls of the mesh as they end, for an operator who watches. */
import { TAP_SHAPE } from '../../discovery/tap/message.ts'
import { fields, withDefault } from '../../options/fields.ts'
import { didYouMean } from '../../options/nearest.ts'
import { duration, integer } from '../../options/quantities.ts'
import { describeTap } from '../../telemetry/tap/describe-tap.ts'
import { TAP_LIMITS } from '../../telemetry/tap/tap-message.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { ApiError, invalid } from './error.ts'
import { auditRefusal, checkBody } from './handling.ts'
import { readJson, sendJson } from './request.ts'

const { service, from, path, method, statuses, headers, perSecond } = TAP_SHAPE
const BODY = fields({
  ...{ service, from, path, method, statuses },
  headers: withDefault(headers, []),
  perSecond: withDefault(perSecond, 20),
  max: withDefault(integer(TAP_LIMITS.calls), 100),
  for: withDefault(duration(TAP_LIMITS.forMs), '10m'),
})
const LOCAL = fields(TAP_SHAPE)
const ID = /^[0-9a-f-]{36}$/

export async function tap(context: ApiContext, { request, response, caller }: ApiRequest): Promise<void> {
  const { audit, clock, taps } = context
  const { for: forMs, max, ...filter } = checkBody(BODY, await readJson(request, clock), 'tap')
  try {
    checkService(context, filter.service)
    checkHeaders(context, filter.headers)
    taps.checkRoom(caller.name)
  } catch (error) {
    throw auditRefusal(audit, 'tap', caller, filter.service, error)
  }
  const { name: by, source } = caller
  const entry = { who: by, source, outcome: 'done', service: filter.service } as const
  // Also when it begins: who breaks it off, or whose registry dies, has seen calls.
  audit.record({ ...entry, action: 'tap', detail: `${describeTap(filter)}, ${max} calls at most` })
  taps.open(response, by, {
    ...{ question: { ...filter, by, forMs }, max },
    allowed: () => allowedIn(context),
    ended: (detail) => audit.record({ ...entry, action: 'tap-end', detail }),
  })
}

/** Another registry fetches for one of its operators. */
export function answerTap({ taps }: ApiContext, { response, query }: ApiRequest): void {
  const id = query.get('id') ?? ''
  if (!ID.test(id)) throw invalid('query', [{ path: ['id'], message: 'expected the id of a tap' }])
  if (query.get('end') === '1') {
    taps.peerTaps.end(id)
    sendJson(response, 200, {})
    return
  }
  sendJson(response, 200, taps.peerTaps.fetch(id, checkBody(LOCAL, parse(query.get('question')), 'question')))
}

function checkService({ state }: ApiContext, name: string): void {
  if (state.service(name) !== undefined) return
  throw new ApiError('not-found', `there is no service '${name}'${didYouMean(name, state.services.keys())}`)
}

function checkHeaders(context: ApiContext, asked: readonly string[]): void {
  const allowed = allowedIn(context)
  const issues = asked.flatMap((name, i) =>
    allowed.has(name)
      ? []
      : [{ path: ['headers', i], message: `'${name}' is not in 'tap.headers' of the document of 'mesh'` }],
  )
  if (issues.length > 0) throw invalid('tap', issues)
}

function allowedIn({ state }: ApiContext): ReadonlySet<string> {
  const document = state.served.documentOf('mesh') as { readonly tap?: { readonly headers?: readonly string[] } } | null
  return new Set(document?.tap?.headers)
}

function parse(text: string | null): unknown {
  try {
    return JSON.parse(text ?? '')
  } catch {
    return undefined
  }
}
