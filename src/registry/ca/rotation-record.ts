/**
 * What the registries of a store agree on about trust: who signs, who is trusted beside, and the
 * number of the bundle. One record, so that each step is one transaction.
 */
import type { Succession } from './succession.ts'

export interface RotationRecord {
  readonly trustDomain: string
  /** Of the trust bundle; grows with every change of it. */
  readonly sequence: number
  /** The storage's epoch when the sequence grew last. */
  readonly epoch: string
  /** Of the authorities that sign certificates: intermediates, or a root in an older store. */
  readonly certificates: Succession
  readonly tokens: Succession
  /** Authorities of late that are trusted no more: a registry with an old directory names them. */
  readonly withdrawn?: readonly string[]
}

/** How many of them are remembered. */
const MOST_WITHDRAWN = 20

export function withdraw({ withdrawn = [] }: RotationRecord, id: string): readonly string[] {
  return [...withdrawn, id].slice(-MOST_WITHDRAWN)
}

/**
 * The next number of the bundle. Not below the seconds of the wall clock: a bundle of a restored
 * backup is newer than those that were distributed after the backup was made.
 */
export function nextSequence({ sequence }: { readonly sequence: number }, wallNow: number): number {
  return Math.max(sequence + 1, Math.floor(wallNow / 1_000))
}
