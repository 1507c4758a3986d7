/** The queries of questions about traffic. */
import { type AnyField, type Field, field, fields, oneOf, optional, withDefault } from '../../options/fields.ts'
import { serviceName } from '../../options/names.ts'
import { duration } from '../../options/quantities.ts'
import { EVENT_KINDS } from '../traffic/events.ts'
import { invalid } from './error.ts'
import { checkBody } from './handling.ts'

const HOUR_MS = 3_600_000
const LEAST_MS = 5_000
/** A longer one is summed up anew every 5 s. */
const LONGEST_STREAMED_MS = 900_000

/** Digits, as a query has them. */
function whole(what: string, max: number): Field<number> {
  return field(what, { type: 'integer' }, (value) =>
    typeof value === 'string' && /^\d{1,16}$/.test(value) && Number(value) <= max ? Number(value) : undefined,
  )
}

const AT = optional(whole('an instant in ms since 1970', 8.64e15))
const LOCAL = optional(oneOf(['0', '1']))
const WINDOW = withDefault(duration({ min: LEAST_MS, max: HOUR_MS }), '60s')

/** A caller in a graph; `outside` for those that are not of the mesh. */
const SERVICE = serviceName()

export const GRAPH_QUERY = fields({ window: WINDOW, at: AT, local: LOCAL })
export const STREAM_QUERY = fields({
  window: withDefault(duration({ min: LEAST_MS, max: LONGEST_STREAMED_MS }), '60s'),
})
export const SERIES_QUERY = fields({
  from: optional(SERVICE),
  to: optional(SERVICE),
  service: optional(SERVICE),
  window: withDefault(duration({ min: LEAST_MS, max: HOUR_MS }), '10m'),
  step: optional(duration({ min: LEAST_MS, max: HOUR_MS })),
  at: AT,
  local: LOCAL,
})
export const SERVICE_QUERY = fields({ service: SERVICE, window: WINDOW, at: AT, local: LOCAL })
export const INSTANCES_QUERY = fields({ service: SERVICE, local: LOCAL })
export const CERTIFICATES_QUERY = fields({ local: LOCAL })
export const EVENTS_QUERY = fields({
  since: AT,
  until: AT,
  kind: optional(oneOf(EVENT_KINDS)),
  service: optional(SERVICE),
  limit: optional(whole('a whole number up to 1000', 1_000)),
  local: LOCAL,
})

/** @throws ApiError `invalid-request` naming each wrong or unknown parameter */
export function readQuery<T>(description: AnyField<T>, query: URLSearchParams): T {
  const given: Record<string, string> = {}
  for (const [key, value] of query) {
    if (Object.hasOwn(given, key)) throw invalid('query', [{ path: [key.slice(0, 100)], message: 'is there twice' }])
    Object.defineProperty(given, key, { value, enumerable: true })
  }
  return checkBody(description, given, 'query')
}
