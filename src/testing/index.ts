/** `inmesh/testing`: what tests of an application need. So far time and chance: a clock that moves only when told to. */

export type { Clock, Timer } from '../core/clock.ts'
export { FakeClock, seededRandom } from './fake-clock.ts'
