/**
 * Everybody who watches one service, and what goes to all of them. A change is sent at once if
 * nothing was sent just before, and otherwise together with what else changes within the window.
 * Many watchers are written to in portions, so that the first of them read while the last are still
 * written to, and heartbeats are heard in between.
 *
 * A subscription is `current` (gets every delta), `queued` (waits for its snapshot), `behind`
 * (waits until its watcher has drained, then is queued) or `ahead` (its watcher comes from another
 * registry and knows more than this one, which catches up):
 * - watch → current (resumed by delta), queued or ahead;  ahead → current or queued
 * - queued → current when its snapshot is written
 * - current → behind when the watcher's backlog or the delta is over its limit; behind → queued
 *   when the watcher has drained
 */
import type { Clock, Timer } from '../../core/clock.ts'
import { LIMITS } from '../../discovery/limits.ts'
import type { ServerMessage } from '../../discovery/registry/wire.ts'
import type { ServiceChange } from '../state.ts'
import { Acknowledgements, type Acknowledging } from './acknowledgements.ts'
import { mergeChanges } from './merge-changes.ts'
import type { EncodedSnapshot } from './snapshot.ts'
import type { Position, Watcher } from './watcher.ts'

/**
 * From one message about a service to the next, at least: far below the second in which changes
 * must be in force.
 */
const WINDOW_MS = 10
/**
 * Watchers written to in one turn of the event loop: 1 to 2 ms of work, most of it TLS and the
 * kernel's.
 */
const PORTION = 50

export interface Subscription extends Acknowledging {
  readonly watcher: Watcher
  readonly channel: Channel
  state: 'current' | 'queued' | 'behind' | 'ahead'
}

/** What a channel needs of its hub. */
export interface ChannelHost {
  readonly clock: Clock
  encode(message: ServerMessage): Buffer
  deliver(subscription: Subscription, line: Buffer): void
  /** It is behind, and gets a snapshot soon. */
  resync(subscription: Subscription): void
  /** Whether its backlog is over the limit. */
  isBlocked(watcher: Watcher): boolean
}

/** A message on its way to all who are current. */
interface FanOut {
  readonly message: ServerMessage
  /** Made when the first is written to. */
  line: Buffer | undefined
  readonly left: Iterator<Subscription>
}

export class Channel {
  readonly service: string
  readonly subscriptions = new Map<Watcher, Subscription>()
  readonly acknowledgements = new Acknowledgements()
  /** The last one that was begun. */
  snapshot: EncodedSnapshot | undefined
  readonly #host: ChannelHost
  #position: Position & { readonly service: string }
  #frozen = false
  #pending: ServiceChange[] = []
  #fanOut: FanOut | undefined
  #sentAt = Number.NEGATIVE_INFINITY
  #window: Timer | undefined
  #nextPortion: NodeJS.Immediate | undefined

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
    this.#pending.push(change)
    this.#wait()
  }

  /** No change of the store, so it has no separate revision. */
  setFrozen(frozen: boolean): void {
    if (this.#frozen === frozen) return
    this.flush()
    this.#frozen = frozen
    const { service, revision } = this.#position
    this.#begin({ type: 'delta', service, previous: revision, revision, frozen })
  }

  /** Everything that is pending or on its way is written before this returns. */
  flush(): void {
    this.#finish()
    this.#tell()
    this.#finish()
  }

  /** Until the window is over; what changes during a fan-out waits for its end. */
  #wait(): void {
    if (this.#window !== undefined || this.#fanOut !== undefined || this.#pending.length === 0) return
    const { clock } = this.#host
    const inMs = Math.max(0, this.#sentAt + WINDOW_MS - clock.now())
    this.#window = clock.startBackgroundTimer(inMs, () => this.#tell(), undefined)
  }

  #tell(): void {
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
    this.#fanOut = { message, line: undefined, left: this.subscriptions.values() }
    this.#portion()
  }

  #portion(): void {
    this.#nextPortion = undefined
    this.#write(PORTION)
    // Not a timer: for its millisecond the process could sleep, and a busy machine would be late to
    // wake it.
    if (this.#fanOut !== undefined) this.#nextPortion = setImmediate(() => this.#portion())
    else this.#wait()
  }

  #finish(): void {
    if (this.#nextPortion !== undefined) clearImmediate(this.#nextPortion)
    this.#nextPortion = undefined
    this.#write(Number.POSITIVE_INFINITY)
  }

  /**
   * The fan-out to `most` more. It does not reach a watcher that is added meanwhile: adding flushes
   * first.
   */
  #write(most: number): void {
    const fanOut = this.#fanOut
    if (fanOut === undefined) return
    for (let i = 0; i < most; i++) {
      const { value: subscription, done } = fanOut.left.next()
      if (done === true) {
        this.#fanOut = undefined
        return
      }
      if (subscription.state !== 'current') continue
      if (this.#host.isBlocked(subscription.watcher)) {
        subscription.state = 'behind'
        continue
      }
      fanOut.line ??= this.#host.encode(fanOut.message)
      if (fanOut.line.length > LIMITS.lineBytes) {
        subscription.state = 'behind'
        this.#host.resync(subscription)
        continue
      }
      this.#host.deliver(subscription, fanOut.line)
    }
  }
}
