/**
 * Overrides of single instances by operators: no calls, or another weight.
 */
import { addressKey } from '../../core/endpoint.ts'
import { fields, flag, type Issue, oneOf, optional } from '../../options/fields.ts'
import { integer } from '../../options/quantities.ts'
import { registered } from '../overrides.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { invalid } from './error.ts'
import { readJson, sendJson } from './request.ts'

const WEIGHT = integer({ min: 0, max: 1_000 })
const BODY = fields({ disabled: optional(flag()), weight: optional(WEIGHT), reset: optional(oneOf(['weight'])) })

/**
 * `PUT /v1/services/:service/instances/:instance` with `disabled`, `weight`, or `reset: 'weight'`.
 */
export async function overrideInstance({ registrar, clock }: ApiContext, exchange: ApiRequest): Promise<void> {
  const { request, response, caller, parameters } = exchange
  const [service, id] = parameters as [string, string]
  const issues: Issue[] = []
  const { disabled, weight, reset } = BODY.parse(await readJson(request, clock), [], issues)
  if (issues.length === 0 && disabled === undefined && weight === undefined && reset === undefined) {
    issues.push({ path: [], message: "expected 'disabled' (true or false), 'weight' (0 to 1000) or reset: 'weight'" })
  }
  if (weight !== undefined && reset !== undefined) {
    issues.push({ path: ['reset'], message: "is given beside 'weight'; give one of them" })
  }
  if (issues.length > 0) throw invalid('instance', issues)
  const change = { disabled, weight: reset === undefined ? weight : null }
  const { record, override, isNew } = await registrar.overrides.set(service, id, change, {
    by: caller.name,
    source: caller.source,
  })
  const { instance } = record
  sendJson(response, 200, {
    service,
    id,
    address: addressKey(instance),
    disabled: override?.disabled ?? false,
    weight: instance.weight,
    ownWeight: registered(record).weight,
    changed: isNew,
  })
}
