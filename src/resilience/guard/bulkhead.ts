/**
 * Limits the executions of a function that run at once. A call holds its permit until the function
 * has ended, even if its caller was answered long before.
 */
import type { Attempt } from '../../core/attempt.ts'
import { NOT_STARTED, type Outcome } from '../../core/outcome.ts'
import { type Field, withDefault } from '../../options/fields.ts'
import { duration, integer } from '../../options/quantities.ts'
import { definePolicy, type OptionsOf, type SettingsOf } from '../define-policy.ts'
import { CONCURRENCY, ConcurrencyLimitPolicy } from '../limits/concurrency-limit.ts'
import { GuardCall } from './call.ts'

const definition = definePolicy(
  'bulkhead',
  {
    /**
     * Executions in progress: a number, `'adaptive'`, or the options of an adaptive concurrency
     * limit.
     */
    concurrency: CONCURRENCY,
    /**
     * Calls that may wait for a permit, in order of arrival; more are refused with `queue-full`.
     * @defaultValue `0`
     */
    queue: withDefault(integer({ min: 0, max: 1_000_000 }), 0),
    /**
     * No call waits longer, nor beyond its own deadline. @defaultValue `'1s'` (concurrency-limits:
     * `backlogTimeout`)
     */
    maxWait: withDefault(duration({ min: 1, max: 3_600_000 }), '1s'),
  },
  ({ concurrency, ...waiting }) => ({ limit: { concurrency, shares: undefined }, ...waiting }),
)

/** How many at once, and who may wait. */
export interface BulkheadOptions extends OptionsOf<typeof definition> {}
export interface BulkheadSettings extends SettingsOf<typeof definition> {}

/** A number, `'adaptive'`, or an object with {@link BulkheadOptions}. */
export const BULKHEAD: Field<BulkheadSettings, number | 'adaptive' | BulkheadOptions> = {
  optional: false,
  schema: { anyOf: [CONCURRENCY.schema, definition.schema] },
  parse(value, path, issues) {
    if (typeof value === 'object' && value !== null) return definition.parse(value, path, issues)
    const before = issues.length
    const concurrency = CONCURRENCY.parse(value, path, issues)
    return issues.length === before ? definition.resolve({ concurrency }) : (undefined as never)
  },
}

export class BulkheadPolicy extends ConcurrencyLimitPolicy {
  /** Told when a permit has been given back. */
  onFree: (() => void) | undefined = undefined

  override settle(attempt: Attempt, outcome: Outcome): void {
    const { call } = attempt
    if (call instanceof GuardCall && call.executing > 0) {
      call.onIdle = () => {
        // The function ends only now, however long ago its caller was answered.
        attempt.endedAt = 0
        this.#release(attempt, outcome)
      }
    } else this.#release(attempt, outcome)
  }

  #release(attempt: Attempt, outcome: Outcome): void {
    super.settle(attempt, outcome)
    // It was only asked for, so nothing has changed for those who wait.
    if (outcome !== NOT_STARTED) this.onFree?.()
  }
}
