/**
 * Chooses among the targets of one route: the only one, the one that a sticky key leads to, or the
 * next by weight.
 */
import type { Clock } from '../../core/clock.ts'
import type { RequestHead } from '../../core/request-head.ts'
import type { RouteSettings, StickySettings, TargetSettings } from '../../routing/settings.ts'
import { SplitTurns, stickyIndex } from '../../routing/split.ts'
import { type CallContext, sideOf } from '../call-context.ts'
import type { Selections } from '../selections.ts'
import { stickyKeyOf } from './sticky-key.ts'

export class TargetChoice {
  readonly #clock: Clock
  #targets: readonly Selections[] = []
  #turns: SplitTurns | undefined
  #settings: readonly TargetSettings[] = []
  #sticky: StickySettings | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Turns go on from where they are, also with other weights. */
  configure({ targets, sticky }: RouteSettings, compiled: readonly Selections[]): void {
    this.#targets = compiled
    this.#settings = targets
    this.#sticky = sticky
    if (targets.length < 2) return
    if (this.#turns === undefined) this.#turns = new SplitTurns(targets, this.#clock.random())
    else this.#turns.configure(targets)
  }

  of(head: RequestHead, from: CallContext | undefined): Selections {
    const targets = this.#targets
    if (targets.length === 1) return targets[0]!
    const key = this.#sticky === undefined ? undefined : stickyKeyOf(this.#sticky, head, from)
    if (key === undefined) return targets[this.#turns!.next()]!
    return targets[this.#carried(head, from) ?? stickyIndex(this.#settings, key)]!
  }

  /** The side that earlier calls of the request are on, if there is such a target. */
  #carried(head: RequestHead, from: CallContext | undefined): number | undefined {
    const sticky = this.#sticky!
    const side = sticky.from === 'baggage' ? sideOf(sticky.name, head, from) : undefined
    if (side === undefined) return undefined
    const index = this.#settings.findIndex(({ key, weight }) => key === side && weight > 0)
    return index < 0 ? undefined : index
  }
}
