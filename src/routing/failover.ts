/** The ordered levels of endpoints that share the load of a service or route. */
import { convert } from '../options/composed-fields.ts'
import { type Field, fields, list, oneOf, optional, text } from '../options/fields.ts'
import { SERVICE_NAME } from '../options/names.ts'
import type { OptionsOf } from '../resilience/define-policy.ts'
import type { FailoverLevel } from './settings.ts'
import { METADATA, SUBSET_NAME } from './targets.ts'

const KINDS = ['zone', 'region', 'metadata', 'service']

const level = fields({
  /** `same`: endpoints in this process's zone. `any`: all. */
  zone: optional(oneOf(['same', 'any'])),
  /** The same by region. */
  region: optional(oneOf(['same', 'any'])),
  /** Endpoints with these values; `same`: with this process's own value. */
  metadata: optional(METADATA),
  /** Another service. */
  service: optional(text('the name of a service', SERVICE_NAME, 63)),
  /** A subset of `service`, or of the service itself. */
  subset: optional(SUBSET_NAME),
})
/** One level: exactly one of `zone`, `region`, `metadata`, and `service` or `subset` or both. */
export interface FailoverLevelOptions extends OptionsOf<typeof level> {}

const LEVEL: Field<FailoverLevel, FailoverLevelOptions> = {
  ...level,
  schema: {
    ...level.schema,
    oneOf: [
      { required: ['zone'] },
      { required: ['region'] },
      { required: ['metadata'] },
      { anyOf: [{ required: ['service'] }, { required: ['subset'] }] },
    ],
  },
  parse(value, path, issues) {
    const before = issues.length
    const { zone, region, metadata, service, subset } = level.parse(value, path, issues)
    const target = service ?? subset
    const given = [zone, region, metadata, target].filter((kind) => kind !== undefined).length
    if (issues.length === before && given !== 1) {
      const message = `expected exactly one of ${KINDS.join(', ')} (with or without subset), got ${given === 0 ? 'none' : given}`
      issues.push({ path, message })
    }
    if (zone !== undefined) return Object.freeze({ kind: 'zone', where: zone })
    if (region !== undefined) return Object.freeze({ kind: 'region', where: region })
    if (metadata !== undefined) return Object.freeze({ kind: 'metadata', entries: metadata })
    return Object.freeze({ kind: 'service', service, subset })
  },
}

export const FAILOVER: Field<readonly FailoverLevel[], readonly FailoverLevelOptions[]> = convert(
  list(LEVEL, { min: 1, max: 10 }),
  (levels) => levels,
)
