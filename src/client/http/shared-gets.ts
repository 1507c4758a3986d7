/**
 * Equal GETs of one client share an exchange while it runs, and its response for a short time.
 * Path, headers and baggage must match, so no caller sees another's data.
 */
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import { inboundCall } from '../../core/context.ts'
import { MeshError } from '../../core/errors.ts'
import { SharedResults, type SharingSettings } from '../../resilience/shared-results.ts'
import { ResponseBody } from './body/response.ts'
import type { Answer, HttpCall } from './call.ts'
import type { ReceivedHeaders } from './headers.ts'
import type { PreparedRequest } from './prepare-request.ts'
import { HttpResponse } from './response.ts'

interface Head {
  readonly status: number
  readonly statusText: string
  readonly received: ReceivedHeaders
  readonly body: ResponseBody
}

interface Whole extends Omit<Head, 'body'> {
  readonly bytes: Buffer
}

/** Larger answers are shared while they arrive, but not kept. */
const MOST_KEPT_BYTES = 65_536
/** RFC 9111, 5.2.2: the response must not be stored, or not be shared. */
const NOT_KEPT = /\b(?:no-store|no-cache|private)\b/i

const head: Answer<Head> = (status, statusText, received, body) => ({ status, statusText, received, body })

export class SharedGets {
  readonly #results: SharedResults<Whole>

  constructor(settings: SharingSettings, clock: Clock) {
    this.#results = new SharedResults(settings, clock)
  }

  /**
   * `make` prepares the one call that answers all, as a child of `root`, which carries `baggage`.
   */
  async get(
    request: PreparedRequest,
    kind: Call['kind'],
    baggage: Call['baggage'],
    make: (root: Call, answer: Answer<Head>) => HttpCall<Head>,
  ): Promise<HttpResponse> {
    // JSON escapes its parts, so no value can imitate a separator.
    // A mirror and a call that counts never share: only one of them is marked.
    const mirror = inboundCall()?.mirror === true
    const key = JSON.stringify([request.path, request.headers, baggage === undefined ? [] : [...baggage], mirror])
    const whole = await this.#results.get(
      key,
      kind,
      async (root) => {
        root.baggage = baggage
        const { body, ...rest } = await make(root, head).send()
        return { ...rest, bytes: await body.bytes() }
      },
      (cause) =>
        new MeshError(`GET to '${kind.service}' was cancelled while it shared the exchange of an equal request`, {
          code: 'cancelled',
          service: kind.service,
          method: kind.method,
          cause,
        }),
      mayKeep,
    )
    const body = new ResponseBody()
    // A copy, because the bytes belong to their reader.
    if (whole.bytes.length > 0) body.push(Buffer.from(whole.bytes))
    body.end()
    return new HttpResponse(whole.status, whole.statusText, whole.received, body)
  }
}

function mayKeep({ status, received, bytes }: Whole): boolean {
  if (status !== 200 || bytes.length > MOST_KEPT_BYTES || received['set-cookie'] !== undefined) return false
  // RFC 9111, 4.1: depends on more than the request.
  if (String(received.vary ?? '').includes('*')) return false
  const control = received['cache-control']
  return control === undefined || !NOT_KEPT.test(String(control))
}
