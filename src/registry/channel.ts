/**
 * Everybody who watches one service, and what goes to all of them. A change is sent at once if nothing was sent just before,
 * and otherwise together with what else changes within the window.
 *
 * A subscription is `current` (gets every delta), `queued` (waits for its snapshot) or `behind` (waits until its watcher
 * has drained, then is queued):
 * - watch → current (resumed by delta) or queued;  queued → current when its snapshot is written
 * - current → behind when the watcher's backlog is over the limit;  behind → queued when the watcher has drained
 */
import type { Clock, Timer } from '../core/clock.ts'
import type { ServerMessage } from '../discovery/wire.ts'
import { Acknowledgements, type Acknowledging } from './acknowledgements.ts'
import { mergeChanges } from './merge-changes.ts'
import type { ServiceChange } from './state.ts'
import type { Position, Watcher } from './watcher.ts'

/** From one message about a service to the next, at least: far below the second in which changes must be in force. */
const WINDOW_MS = 10
export interface Subscription extends Acknowledging {
  readonly watcher: Watcher
  readonly channel: Channel
  state: 'current' | 'queued' | 'behind'
}

/** What a channel needs of its hub. */
export interface ChannelHost {
  readonly clock: Clock
  encode(message: ServerMessage): Buffer
  deliver(subscription: Subscription, line: Buffer): void
  /** Whether its backlog is over the limit. */
  isBlocked(watcher: Watcher): boolean
}

export class Channel {
  readonly service: string
  readonly subscriptions = new Map<Watcher, Subscription>()
  readonly acknowledgements = new Acknowledgements()
  /** The last snapshot, while it is what is. */
  snapshot: { line: Buffer; intended: boolean } | undefined
  readonly #host: ChannelHost
  #position: Position & { readonly service: string }
  #frozen = false
  #pending: ServiceChange[] = []
  #sentAt = Number.NEGATIVE_INFINITY
  #window: Timer | undefined

  /** `told`: revision of the last change before it began. */
  constructor(service: string, told: number, host: ChannelHost) {
    this.service = service
    this.#position = { service, revision: told }
    this.#host = host
  }

  /** Of the last message about the service. */
  get position(): Position & { readonly service: string } {
    return this.#position
  }

  get frozen(): boolean {
    return this.#frozen
  }

  changed(change: ServiceChange): void {
    this.snapshot = undefined
    this.#pending.push(change)
    this.#wait()
  }

  /** No change of the store, so it has no revision of its own. */
  setFrozen(frozen: boolean): void {
    if (this.#frozen === frozen) return
    this.flush()
    this.#frozen = frozen
    this.snapshot = undefined
    const { service, revision } = this.#position
    this.#begin({ type: 'delta', service, previous: revision, revision, frozen })
  }

  #wait(): void {
    if (this.#window !== undefined) return
    const { clock } = this.#host
    const inMs = Math.max(0, this.#sentAt + WINDOW_MS - clock.now())
    this.#window = clock.startBackgroundTimer(inMs, () => this.flush(), undefined)
  }

  /** Sends what is pending. */
  flush(): void {
    if (this.#window !== undefined) this.#host.clock.stopTimer(this.#window)
    this.#window = undefined
    if (this.#pending.length === 0) return
    const changes = this.#pending
    this.#pending = []
    const previous = this.#position.revision
    const { revision } = changes.at(-1)!
    this.#position = { service: this.service, revision }
    if (this.subscriptions.size > 0) this.#begin(mergeChanges(this.service, previous, revision, changes))
  }

  #begin(message: ServerMessage): void {
    this.#sentAt = this.#host.clock.now()
    let line: Buffer | undefined
    for (const subscription of this.subscriptions.values()) {
      if (subscription.state !== 'current') continue
      if (this.#host.isBlocked(subscription.watcher)) {
        subscription.state = 'behind'
        continue
      }
      line ??= this.#host.encode(message)
      this.#host.deliver(subscription, line)
    }
  }
}
