/**
 * Rejects a promise where a callback must answer synchronously. A promise would count as yes, and
 * its rejection would end the process.
 */

/** `answer` as it is. @throws TypeError naming the option `what` if it is a promise. */
export function synchronous<T>(answer: T, what: string): T {
  const then = (answer as { then?: unknown } | null | undefined)?.then
  if (typeof then !== 'function') return answer
  Promise.resolve(answer).catch(() => undefined)
  throw new TypeError(`${what}: expected a function that answers at once, got one that returns a promise`)
}
