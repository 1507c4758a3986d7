/** A clock for waits that must not keep the process alive. */
import { shareCertificateTime } from './certificate-time.ts'
import type { Clock } from './clock.ts'

/** `clock` with background timers only; both judge certificates by one time. */
export function inBackground(clock: Clock): Clock {
  const background: Clock = {
    now: () => clock.now(),
    wallNow: () => clock.wallNow(),
    random: () => clock.random(),
    startTimer: (ms, fire, context) => clock.startBackgroundTimer(ms, fire, context),
    startBackgroundTimer: (ms, fire, context) => clock.startBackgroundTimer(ms, fire, context),
    stopTimer: (timer) => clock.stopTimer(timer),
    stalledMsSince: (at) => clock.stalledMsSince(at),
  }
  shareCertificateTime(clock, background)
  return background
}
