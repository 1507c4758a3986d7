/** Open-loop load: requests come when they come, however many are still waiting. */
import type { Clock } from '../core/clock.ts'
import type { Chance } from './chance.ts'

/** Calls `send` at random instants, `perSecond(now)` times a second on average, until `until`. */
export function offer(
  clock: Clock,
  chance: Chance,
  perSecond: (now: number) => number,
  until: number,
  send: () => void,
): void {
  const next = (): void => {
    send()
    wait()
  }
  const wait = (): void => {
    const ms = chance.exponential(1_000 / perSecond(clock.now()))
    if (clock.now() + ms < until) clock.startTimer(ms, next, undefined)
  }
  wait()
}

/** Happens once, at an instant. */
export function at(clock: Clock, instant: number, happen: () => void): void {
  clock.startTimer(instant - clock.now(), happen, undefined)
}
