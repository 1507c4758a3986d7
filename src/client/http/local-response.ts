/** The response that a route makes by itself: a fixed answer, or a redirect. */
import { STATUS_CODES } from 'node:http'
import { redirectLocation } from '../../routing/redirect-location.ts'
import type { HeaderChanges } from '../../routing/settings.ts'
import type { LocalAnswer } from '../local-end.ts'
import type { Routed } from '../routed.ts'
import { ResponseBody } from './body/response.ts'
import type { ReceivedHeaders } from './headers.ts'
import type { PreparedRequest } from './prepare-request.ts'

export interface LocalResponse {
  readonly status: number
  readonly statusText: string
  readonly headers: ReceivedHeaders
  readonly body: ResponseBody
}

type Values = Record<string, string | string[] | undefined>

const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304])

/** `service`: the host of a call without an origin. */
export function localResponse(
  answer: LocalAnswer,
  routed: Routed,
  request: PreparedRequest,
  service: string,
): LocalResponse {
  const { status } = answer
  const text = answer.kind === 'respond' ? Buffer.from(answer.body) : Buffer.alloc(0)
  const headers: Values = Object.create(null)
  if (answer.kind === 'redirect') {
    const origin = request.origin ?? `http://${service}`
    headers.location = redirectLocation(answer, routed.route!, request.path, origin)
  } else {
    if (text.length > 0) headers['content-type'] = 'text/plain; charset=utf-8'
    for (const [name, value] of answer.headers) headers[name] = value
  }
  if (!WITHOUT_BODY.has(status)) headers['content-length'] = String(text.length)
  const body = new ResponseBody()
  if (text.length > 0 && request.method !== 'HEAD' && !WITHOUT_BODY.has(status)) body.push(text)
  return {
    status,
    statusText: STATUS_CODES[status] ?? '',
    headers: changedResponse(headers, routed.responseChanges),
    body: body.ended(),
  }
}

/** With one more line of a header. */
export function withHeader(received: ReceivedHeaders, line: readonly [name: string, value: string]): ReceivedHeaders {
  return changedResponse(received, [{ remove: [], set: [], add: [line] }])
}

/** `received` as the route changes it. */
export function changedResponse(received: ReceivedHeaders, all: readonly HeaderChanges[]): ReceivedHeaders {
  if (all.length === 0) return received
  const headers: Values = { ...received }
  for (const { remove, set, add } of all) {
    for (const name of remove) delete headers[name]
    for (const [name, value] of set) headers[name] = value
    for (const [name, value] of add) {
      const before = headers[name]
      headers[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value]
    }
  }
  return headers
}
