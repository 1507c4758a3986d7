/**
 * The watchers of all services. A change is encoded once for all of them; a slow watcher loses
 * deltas and gets one snapshot later.
 */
import type { Clock, Timer } from '../../core/clock.ts'
import { LIMITS } from '../../discovery/limits.ts'
import type { ServerMessage, Since } from '../../discovery/registry/wire.ts'
import type { RegistryState, ServiceChange } from '../state.ts'
import { catchUp } from './catch-up.ts'
import { Channel, type ChannelHost, type Subscription } from './channel.ts'
import { mergeChanges } from './merge-changes.ts'
import { ServiceHistory } from './service-history.ts'
import { Snapshots } from './snapshots.ts'
import type { Watcher } from './watcher.ts'

/**
 * Unsent bytes above which deltas are dropped, and how long a watcher may stay there.
 */
const BACKLOG_LIMIT = 1024 * 1024
const BLOCKED_MS = 30_000
/** Bookmarks are sent at every second tick: 10 s. */
const TICK_MS = 5_000

interface WatcherState {
  readonly subscriptions: Set<Subscription>
  blockedAt: number | undefined
  /** When it was last looked at. */
  backlog: number
  /** Snapshots of it that count as in flight. */
  readonly inFlight: Set<() => void>
}

export class WatchHub {
  /** Counts, for tests and metrics: messages encoded, and messages written to watchers. */
  encoded = 0
  delivered = 0

  readonly #state: RegistryState
  readonly #clock: Clock
  readonly #history: ServiceHistory
  readonly #host: ChannelHost
  readonly #channels = new Map<string, Channel>()
  readonly #watchers = new Map<Watcher, WatcherState>()
  readonly #stopListening: () => void
  readonly #snapshots: Snapshots
  #tick: Timer
  #ticks = 0
  #unknownUntilAt = Number.NEGATIVE_INFINITY

  constructor(state: RegistryState, clock: Clock, history: ServiceHistory = new ServiceHistory(state.oldest)) {
    this.#state = state
    this.#clock = clock
    this.#history = history
    this.#host = {
      clock,
      encode: (message) => this.encode(message),
      deliver: (subscription, line) => this.#write(subscription, [line]),
      resync: ({ watcher }) => clock.startBackgroundTimer(0, () => this.drained(watcher), undefined),
      isBlocked: (watcher) => this.#isBlocked(watcher),
    }
    this.#snapshots = new Snapshots({
      state,
      history,
      clock,
      admit: (subscription) => this.#admit(subscription),
      write: (subscription, lines, flushed) => this.#write(subscription, lines, flushed),
      missed: (channel, revision) => this.#missed(channel, revision),
      encoded: (lines) => {
        this.encoded += lines
      },
    })
    const stops = [
      state.onChange((change) => this.#changed(change)),
      state.onForgotten((service, revision) => this.#forget(service, revision)),
    ]
    this.#stopListening = () => {
      for (const stop of stops) stop()
    }
    this.#tick = clock.startBackgroundTimer(TICK_MS, () => this.#onTick(), undefined)
  }

  get watchers(): number {
    return this.#watchers.size
  }

  /** Begins a watch, or begins it anew. */
  watch(watcher: Watcher, service: string, since?: Since): void {
    const channel = this.#channel(service)
    // What is pending goes to those who watch already; the newcomer begins after it.
    channel.flush()
    const known = this.#watchers.get(watcher) ?? {
      subscriptions: new Set(),
      blockedAt: undefined,
      backlog: 0,
      inFlight: new Set(),
    }
    this.#watchers.set(watcher, known)
    let subscription = channel.subscriptions.get(watcher)
    if (subscription === undefined) {
      const { acknowledges, process } = watcher
      subscription = { watcher, channel, state: 'current', acknowledges, process, acknowledged: 0 }
      channel.subscriptions.set(watcher, subscription)
      known.subscriptions.add(subscription)
    }
    const from = since?.epoch === this.#state.epoch ? since.revision : undefined
    if (from !== undefined && from > this.#state.revision) this.#catchUp(subscription, from)
    else this.#resume(subscription, from)
  }

  /** Another registry on the same store was ahead of this one. */
  #catchUp(subscription: Subscription, from: number): void {
    subscription.state = 'ahead'
    catchUp(this.#state, this.#clock, from, () => {
      if (subscription.state !== 'ahead') return
      subscription.channel.flush()
      this.#resume(subscription, from)
    })
  }

  #resume(subscription: Subscription, from: number | undefined): void {
    const missed = from === undefined ? undefined : this.#missed(subscription.channel, from)
    if (missed === undefined) this.#snapshots.enqueue(subscription)
    else {
      subscription.state = 'current'
      this.#write(subscription, [missed])
    }
  }

  unwatch(watcher: Watcher, service: string): void {
    const subscription = this.#channels.get(service)?.subscriptions.get(watcher)
    if (subscription !== undefined) this.#drop(subscription)
  }

  isWatched(service: string): boolean {
    return (this.#channels.get(service)?.subscriptions.size ?? 0) > 0
  }

  /**
   * The watcher is gone. `lostUntilAt`: it did not say so, and is waited for until then, on the
   * monotonic clock.
   */
  leave(watcher: Watcher, lostUntilAt?: number): void {
    const known = this.#watchers.get(watcher)
    if (known === undefined) return
    for (const subscription of known.subscriptions) {
      if (lostUntilAt !== undefined) subscription.channel.acknowledgements.lose(subscription, lostUntilAt)
      this.#drop(subscription, lostUntilAt !== undefined)
    }
    this.#watchers.delete(watcher)
    for (const release of known.inFlight) release()
  }

  /** The watcher's socket has taken everything. */
  drained(watcher: Watcher): void {
    const known = this.#watchers.get(watcher)
    if (known === undefined) return
    known.blockedAt = undefined
    for (const subscription of known.subscriptions)
      if (subscription.state === 'behind') this.#snapshots.enqueue(subscription)
  }

  acknowledge(watcher: Watcher, service: string, revision: number): void {
    const channel = this.#channels.get(service)
    const subscription = channel?.subscriptions.get(watcher)
    if (subscription !== undefined) channel!.acknowledgements.acknowledge(subscription, revision)
  }

  /** How many services it watches, and of how many it has not acknowledged the last change. */
  watchingOf(watcher: Watcher): { readonly watches: number; readonly behind: number } | undefined {
    const subscriptions = this.#watchers.get(watcher)?.subscriptions
    if (subscriptions === undefined) return undefined
    let behind = 0
    for (const { channel, acknowledged } of subscriptions) {
      if (acknowledged < (this.#state.service(channel.service)?.revision ?? 0)) behind += 1
    }
    return { watches: subscriptions.size, behind }
  }

  /** How many processes watch `service`, and have acknowledged its last change. */
  acknowledgedOf(service: string): { readonly watchers: number; readonly acknowledged: number } {
    const asked = [...(this.#channels.get(service)?.subscriptions.values() ?? [])].filter((one) => one.acknowledges)
    const revision = this.#state.service(service)?.revision ?? 0
    return { watchers: asked.length, acknowledged: asked.filter((one) => one.acknowledged >= revision).length }
  }

  /**
   * Calls `done` once everybody who watches `service` now, or was lost of late, has acknowledged
   * `revision`, or has left.
   */
  whenSeen(service: string, revision: number, done: (watchers: number) => void): () => void {
    const channel = this.#channel(service)
    const now = this.#clock.now()
    if (now < this.#unknownUntilAt) return () => {}
    return channel.acknowledgements.wait(channel.subscriptions.values(), revision, now, done)
  }

  /** So long it is not known who watches: watchers of the last run have to come back first. */
  expectWatchers(forMs: number): void {
    this.#unknownUntilAt = this.#clock.now() + forMs
  }

  /** Whether expiry of the service's instances has stopped. */
  setFrozen(service: string, frozen: boolean): void {
    if (frozen) this.#channel(service).setFrozen(true)
    else this.#channels.get(service)?.setFrozen(false)
  }

  /** Sends what is pending. */
  flush(): void {
    for (const channel of this.#channels.values()) channel.flush()
  }

  close(): void {
    this.flush()
    this.#stopListening()
    this.#clock.stopTimer(this.#tick)
    this.#snapshots.close()
    for (const watcher of [...this.#watchers.keys()]) this.leave(watcher)
    for (const channel of this.#channels.values()) channel.acknowledgements.clear()
  }

  encode(message: ServerMessage): Buffer {
    this.encoded += 1
    return Buffer.from(`${JSON.stringify(message)}\n`)
  }

  #channel(service: string): Channel {
    let channel = this.#channels.get(service)
    if (channel === undefined) {
      const told = this.#state.service(service)?.revision ?? 0
      channel = new Channel(service, told, this.#host)
      this.#channels.set(service, channel)
    }
    return channel
  }

  /** The service exists no more, as of this revision. */
  #forget(service: string, revision: number): void {
    this.#history.forget(service, revision)
    if (this.isWatched(service)) return
    this.#channels.get(service)?.flush()
    this.#channels.delete(service)
  }

  #changed(change: ServiceChange): void {
    this.#history.keep(change)
    // Without a channel there is no watcher yet; the first one gets a snapshot.
    this.#channels.get(change.service)?.changed(change)
  }

  #write({ watcher, channel }: Subscription, lines: readonly Buffer[], flushed?: () => void): void {
    this.delivered += 1
    const last = lines.length - 1
    // A watcher that resumes after a part knows nothing of the service.
    const begun = { service: channel.service, revision: 0 }
    for (let i = 0; i < last; i++) watcher.write(lines[i]!, undefined, begun)
    watcher.write(lines[last]!, flushed, channel.position)
  }

  /**
   * The line that brings a watcher up to date from `revision`, or `undefined` if only a snapshot
   * can.
   */
  #missed(channel: Channel, revision: number): Buffer | undefined {
    if (revision > this.#state.revision) return undefined
    const changes = this.#history.since(channel.service, revision)
    if (changes === undefined) return undefined
    const to = Math.max(revision, channel.position.revision)
    const line = this.encode({ ...mergeChanges(channel.service, revision, to, changes), frozen: channel.frozen })
    return line.length > LIMITS.lineBytes ? undefined : line
  }

  #isBlocked(watcher: Watcher): boolean {
    const backlog = watcher.backlog()
    if (backlog <= BACKLOG_LIMIT) return false
    const known = this.#watchers.get(watcher)
    if (known === undefined) return true
    // A large snapshot on a slow line takes its time; only one that takes nothing is blocked.
    if (known.blockedAt === undefined || backlog < known.backlog) known.blockedAt = this.#clock.now()
    known.backlog = backlog
    return true
  }

  /** Snapshots of its watcher in flight. `undefined`: it gets none until it has drained. */
  #admit(subscription: Subscription): Set<() => void> | undefined {
    const { watcher } = subscription
    const known = this.#watchers.get(watcher)
    if (known === undefined) return undefined
    if (!this.#isBlocked(watcher)) return known.inFlight
    subscription.state = 'behind'
    return undefined
  }

  #drop(subscription: Subscription, lost = false): void {
    const { channel, watcher } = subscription
    // Takes it out of the queue too: only queued subscriptions are sent a snapshot.
    subscription.state = 'behind'
    channel.subscriptions.delete(watcher)
    this.#watchers.get(watcher)?.subscriptions.delete(subscription)
    if (!lost) channel.acknowledgements.leave(subscription)
    // Names that exist only because somebody watched them must not pile up.
    if (
      channel.subscriptions.size === 0 &&
      channel.acknowledgements.waiting === 0 &&
      this.#state.service(channel.service) === undefined
    ) {
      channel.flush()
      this.#channels.delete(channel.service)
    }
  }

  #onTick(): void {
    this.#tick = this.#clock.startBackgroundTimer(TICK_MS, () => this.#onTick(), undefined)
    this.#ticks += 1
    const now = this.#clock.now()
    for (const [watcher, known] of [...this.#watchers]) {
      if (!this.#isBlocked(watcher)) this.drained(watcher)
      else if (now - known.blockedAt! >= BLOCKED_MS) watcher.close('blocked')
    }
    for (const channel of this.#channels.values()) this.#snapshots.forget(channel)
    if (this.#ticks % 2 === 0) this.#mark()
  }

  #mark(): void {
    this.flush()
    let line: Buffer | undefined
    for (const [watcher, known] of this.#watchers) {
      if (watcher.backlog() > BACKLOG_LIMIT || [...known.subscriptions].some((one) => one.state !== 'current')) continue
      line ??= this.encode({
        type: 'mark',
        epoch: this.#state.epoch,
        revision: this.#state.revision,
        wallNow: this.#clock.wallNow(),
      })
      watcher.write(line, undefined, { revision: this.#state.revision })
    }
  }
}
