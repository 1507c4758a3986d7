/** Reads rates by key, as processes tell their demand and registries lease shares. */
import { SERVICE_NAME } from '../../options/names.ts'
import { number } from '../../options/quantities.ts'
import { ALL_CALLERS, type Demand, MOST_LEASED_CALLERS } from '../../resilience/limits/global-rate-limit.ts'
import { RATES } from '../../resilience/limits/rate-limit.ts'
import { readField, SnapshotRejected } from '../read-field.ts'

/** More than the largest rate is never leased, and changes nothing. */
export const PER_SECOND = number({ min: 0, max: RATES.max })

/** Of a key that occurs twice, the last counts. @throws SnapshotRejected */
export function readDemand(value: unknown, path: string): Demand {
  if (!Array.isArray(value) || value.length > MOST_LEASED_CALLERS) {
    throw new SnapshotRejected(`${path}: expected a list of at most ${MOST_LEASED_CALLERS} pairs`)
  }
  const read = value.map((pair: unknown): Demand[number] => {
    const [key, perSecond] = Array.isArray(pair) ? (pair as unknown[]) : []
    if (typeof key !== 'string' || !(key === '' || key === ALL_CALLERS || SERVICE_NAME.test(key))) {
      throw new SnapshotRejected(`${path}: expected the name of a service, '' or '${ALL_CALLERS}'`)
    }
    const bounded = typeof perSecond === 'number' ? Math.min(perSecond, RATES.max) : perSecond
    return [key, readField(PER_SECOND, bounded, path)]
  })
  return [...new Map(read)]
}
