/** What every engine refuses before it writes. */
import { StorageError } from './errors.ts'
import { type Compare, MOST_COMPARES, MOST_OPERATIONS, type Operation } from './storage.ts'

/** @throws StorageError naming the limit */
export function checkLimits(compares: readonly Compare[], operations: readonly Operation[]): void {
  if (operations.length > MOST_OPERATIONS) throw new StorageError(`more than ${MOST_OPERATIONS} operations`)
  if (compares.length > MOST_COMPARES) throw new StorageError(`more than ${MOST_COMPARES} compares`)
}
