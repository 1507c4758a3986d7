/** Waits until the wall clock shows another millisecond: what is written then has a later time. */
import { setTimeout as sleep } from 'node:timers/promises'

export async function nextMillisecond(): Promise<void> {
  const now = Date.now()
  // A timer counts from the beginning of the turn of the loop, and may be over already.
  while (Date.now() === now) await sleep(1)
}
