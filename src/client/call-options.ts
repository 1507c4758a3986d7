/** Validates the call options that all protocols share: signal, timeout and key. */

import { LONGEST_TIMEOUT_MS } from '../core/deadline.ts'
import { parseDuration } from '../options/duration.ts'
import { type Issue, OptionsError, show } from '../options/fields.ts'

export function mistake(path: Issue['path'], message: string, what = 'request'): OptionsError {
  return new OptionsError(what, [{ path, message }])
}
/** The key is hashed once per attempt: a long one is a mistake, such as a body. */
export const LONGEST_KEY = 4096
/** @throws OptionsError */
export function checkSignal(signal: unknown, what?: string): void {
  if (signal === undefined || signal === null) return
  const given = signal as Partial<AbortSignal>
  // Of any realm and implementation.
  const heard = typeof given.addEventListener === 'function' && typeof given.removeEventListener === 'function'
  if (typeof given.aborted === 'boolean' && heard) return
  throw mistake(['signal'], `expected an AbortSignal, got ${show(signal)}`, what)
}
/** Of another implementation, it may throw; the call must end all the same. */
export function leaveSignal(signal: AbortSignal | undefined, listener: { handleEvent(): void }): void {
  try {
    signal?.removeEventListener('abort', listener)
  } catch {
    // Its listener stays where it is, and does nothing for a call that has ended.
  }
}
/** @throws OptionsError */
export function checkKey(key: unknown, what?: string): string {
  if (typeof key === 'string' && key !== '' && key.length <= LONGEST_KEY) return key
  throw mistake(['key'], `expected text of 1 to ${LONGEST_KEY} characters, got ${show(key)}`, what)
}
/** A per-call timeout in ms; `Infinity` if none is given. @throws OptionsError */
export function checkTimeout(timeout: unknown, what = 'request'): number {
  if (timeout === undefined) return Number.POSITIVE_INFINITY
  const ms = parseDuration(timeout)
  if (ms === undefined || ms <= 0 || ms > LONGEST_TIMEOUT_MS) {
    throw new OptionsError(what, [
      {
        path: ['timeout'],
        message: `expected a duration up to 5 minutes, as milliseconds or as text such as '200ms', got ${show(timeout)}`,
      },
    ])
  }
  return ms
}
