/**
 * Chooses among the targets of one route: the only one, the one that a sticky key leads to, or the
 * next by weight.
 */
import type { Clock } from '../../core/clock.ts'
import type { RequestHead } from '../../core/request-head.ts'
import { readSession } from '../../routing/session.ts'
import type { RouteSettings, SessionSettings, StickySettings, TargetSettings } from '../../routing/settings.ts'
import { SplitTurns, stickyIndex } from '../../routing/split.ts'
import { sideIndex, stickyKeyOf } from '../../routing/sticky-key.ts'
import { baggageOf, type CallContext, sideOf } from '../call-context.ts'
import type { Selections } from '../selections.ts'

export class TargetChoice {
  readonly #clock: Clock
  #targets: readonly Selections[] = []
  #turns: SplitTurns | undefined
  #settings: readonly TargetSettings[] = []
  #sticky: StickySettings | undefined
  #session: SessionSettings | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Turns go on from where they are, also with other weights. */
  configure({ targets, sticky, session }: RouteSettings, compiled: readonly Selections[]): void {
    this.#targets = compiled
    this.#settings = targets
    this.#sticky = sticky
    this.#session = session
    if (targets.length < 2) return
    if (this.#turns === undefined) this.#turns = new SplitTurns(targets, this.#clock.random())
    else this.#turns.configure(targets)
  }

  of(head: RequestHead, from: CallContext | undefined): Selections {
    const targets = this.#targets
    if (targets.length === 1) return targets[0]!
    const begun = this.#session === undefined ? undefined : this.#begun(this.#session, head)
    if (begun !== undefined) return begun
    const sticky = this.#sticky
    const member = sticky?.from === 'baggage' ? baggageOf(sticky.name, head, from) : undefined
    const key = sticky === undefined ? undefined : stickyKeyOf(sticky, head, member)
    if (key === undefined) return targets[this.#turns!.next()]!
    // Earlier calls of the request may have put it on a side.
    const side = member === undefined ? undefined : sideOf(sticky!.name, head, from)
    return targets[sideIndex(this.#settings, side) ?? stickyIndex(this.#settings, key)]!
  }

  /** The target of the session that the request belongs to, also with a weight of 0. */
  #begun(settings: SessionSettings, head: RequestHead): Selections | undefined {
    const session = readSession(settings, (name) => head.header(name), this.#clock.wallNow())
    if (session === undefined) return undefined
    const index = this.#settings.findIndex(({ key, missing }) => key === session.target && !missing)
    return index < 0 ? undefined : this.#targets[index]
  }
}
