/**
 * At most so many executions of a function at once. A permit is held until the function has really
 * ended, even if its caller has been told long before that time is up: what still runs still needs
 * what the bulkhead protects. A function that never ends keeps its permit.
 */
import type { Attempt } from '../../core/attempt.ts'
import { NOT_STARTED, type Outcome } from '../../core/outcome.ts'
import { type Duration, formatDuration } from '../../options/duration.ts'
import { check, type Field, fields, withDefault } from '../../options/fields.ts'
import { duration, integer } from '../../options/quantities.ts'
import {
  CONCURRENCY_FIELD,
  type Concurrency,
  ConcurrencyLimitPolicy,
  type ConcurrencyLimitSettings,
} from '../limits/concurrency-limit.ts'
import { GuardCall } from './call.ts'

/** How many at once, and who may wait. */
export interface BulkheadOptions {
  /** Executions in progress: a number, or `'adaptive'`. */
  readonly concurrency: Concurrency
  /**
   * Calls that may wait for a permit, in order of arrival; more are refused with `queue-full`.
   * @defaultValue 0
   */
  readonly queue?: number
  /**
   * No call waits longer, nor beyond its own deadline. @defaultValue `'1s'` (concurrency-limits:
   * `backlogTimeout`)
   */
  readonly maxWait?: Duration
}

export interface BulkheadSettings {
  readonly limit: ConcurrencyLimitSettings
  readonly queue: number
  readonly maxWaitMs: number
}

const LONGEST_WAIT_MS = 1_000

export const BULKHEAD_FIELDS = fields({
  concurrency: CONCURRENCY_FIELD,
  queue: withDefault(integer({ min: 0, max: 1_000_000 }), 0),
  maxWait: withDefault(duration({ min: 1, max: 3_600_000 }), LONGEST_WAIT_MS, formatDuration(LONGEST_WAIT_MS)),
})

/** A number, `'adaptive'`, or an object with {@link BulkheadOptions}. */
export const BULKHEAD_FIELD: Field<BulkheadSettings> = {
  optional: false,
  schema: { anyOf: [CONCURRENCY_FIELD.schema, BULKHEAD_FIELDS.schema] },
  parse(value, path, issues) {
    if (typeof value !== 'object' || value === null) {
      const concurrency = CONCURRENCY_FIELD.parse(value, path, issues)
      return Object.freeze({ limit: { concurrency }, queue: 0, maxWaitMs: LONGEST_WAIT_MS })
    }
    const { concurrency, queue, maxWait } = BULKHEAD_FIELDS.parse(value, path, issues)
    return Object.freeze({ limit: { concurrency }, queue, maxWaitMs: maxWait })
  },
}

/** Validates and completes. @throws OptionsError naming each wrong field. */
export function resolveBulkhead(options: number | 'adaptive' | BulkheadOptions, what = 'bulkhead'): BulkheadSettings {
  return check(BULKHEAD_FIELD, options, what)
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
