/** Which callers may send one request to another target than its route's. */
import { byKind } from '../options/composed-fields.ts'
import { type Field, fields, list, text, withDefault } from '../options/fields.ts'
import { SERVICE_NAME } from '../options/names.ts'
import type { OptionsOf } from '../resilience/define-policy.ts'
import type { OverrideSettings } from './settings.ts'

const NAME = text('the name of a service', SERVICE_NAME, 63)
const EVERY: Field<'*'> = {
  optional: false,
  schema: { const: '*' },
  parse(value, path, issues) {
    if (value !== '*') issues.push({ path, message: `expected '*' or a list of services, got ${String(value)}` })
    return '*'
  },
}

const overrides = fields({
  /** The services whose requests may carry an override. */
  from: list(NAME, { max: 100 }),
  /** The services that may be overridden. @defaultValue `'*'`: all that this document concerns */
  services: withDefault(
    byKind<'*', never, readonly string[]>({ text: EVERY, list: list(NAME, { min: 1, max: 1_000 }) }),
    '*',
  ),
})
/** The callers that may override a target, and the services concerned. */
export interface OverrideOptions extends OptionsOf<typeof overrides> {}
export const OVERRIDES: Field<OverrideSettings, OverrideOptions> = overrides
