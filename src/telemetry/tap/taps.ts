/** The taps of a process. While there is none, a call costs one comparison. */
import type { Attempt } from '../../core/attempt.ts'
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { Side } from '../call-metrics.ts'
import { type EventSink, NO_EVENTS } from '../events.ts'
import { Tap, type TapSession } from './tap.ts'
import { TAP_LIMITS, type TapMessage } from './tap-message.ts'

export class Taps {
  /** Read for every call; `undefined`: there is none. */
  open: readonly Tap[] | undefined = undefined
  readonly #service: string
  readonly #clock: Clock
  readonly #events: EventSink
  /** It has just ended its call, which is notified next. */
  #decisive: Attempt | undefined

  /** `events`: the beginnings and ends of taps. */
  constructor(service: string, clock: Clock, events: EventSink = NO_EVENTS) {
    this.#service = service
    this.#clock = clock
    this.#events = events
  }

  /** A registry asks. A tap of the same name is replaced, and one beyond the limit refused. */
  begin(asked: TapMessage, pathHolds: (path: string) => boolean, session: TapSession): void {
    this.end(asked.tap)
    const open = this.open ?? []
    if (open.length >= TAP_LIMITS.taps) {
      session.send({ type: 'tapped', tap: asked.tap, calls: [], refused: true })
      return
    }
    const over = ({ id }: Tap): void => this.end(id)
    const tap = new Tap(asked, { clock: this.#clock, service: this.#service, session, pathHolds, over })
    this.open = [...open, tap]
    this.#events.emit('tap:began', tap.began)
  }

  end(id: string): void {
    const found = this.open?.find((tap) => tap.id === id)
    if (found === undefined) return
    const left = this.open!.filter((tap) => tap !== found)
    this.open = left.length === 0 ? undefined : left
    this.#events.emit('tap:ended', found.close())
  }

  /** The session of the registry that asked has ended. */
  endAll(): void {
    const { open = [] } = this
    this.open = undefined
    this.#decisive = undefined
    for (const tap of open) this.#events.emit('tap:ended', tap.close())
  }

  /** `attempt` has ended its call. */
  decided(attempt: Attempt): void {
    this.#decisive = attempt
  }

  callEnded(side: Side, call: Call, outcome: Outcome, endedAt: number): void {
    const decisive = this.#decisive?.call === call ? this.#decisive : undefined
    this.#decisive = undefined
    const { open } = this
    if (open === undefined) return
    const details = call.details(decisive)
    const ended = { side, call, outcome, details, decisive, endedAt, at: this.#clock.wallNow() }
    for (const tap of open) tap.take(ended)
  }
}
