/** What the handlers of the API share: checked bodies, the actor of a change, audited refusals. */
import type { AnyField, Issue } from '../../options/fields.ts'
import type { Caller } from '../access/access.ts'
import type { Audit } from '../access/audit.ts'
import { ApiError, invalid } from './error.ts'

/** @throws ApiError `invalid-request` naming each wrong field */
export function checkBody<T>(description: AnyField<T>, value: unknown, what: string): T {
  const issues: Issue[] = []
  const parsed = description.parse(value, [], issues)
  if (issues.length > 0) throw invalid(what, issues)
  return parsed
}

/** Who makes a change, as policies and overrides record it. */
export function actorOf(caller: Caller): { by: string; source: string } {
  return { by: caller.name, source: caller.source }
}

/** Records a refusal and returns the error to throw. Other errors are no refusals. */
export function auditRefusal(
  audit: Audit,
  action: string,
  caller: Caller,
  service: string | undefined,
  error: unknown,
): unknown {
  if (!(error instanceof ApiError)) return error
  const { name, source } = caller
  const entry = { who: name, source, action, outcome: 'refused', reason: error.code, detail: error.message } as const
  audit.record(service === undefined ? entry : { ...entry, service })
  return error
}
