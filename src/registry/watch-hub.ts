/**
 * Who watches which service, and what they are sent. A change is encoded once and the same bytes go to every watcher; a
 * watcher that cannot keep up loses deltas and gets one fresh snapshot later, so no watcher costs more than its backlog.
 *
 * A subscription is `current` (gets every delta), `queued` (waits for its snapshot) or `behind` (waits until its watcher
 * has drained, then is queued):
 * - watch → current (resumed by delta) or queued;  queued → current when its snapshot is written
 * - current → behind when the watcher's backlog is over the limit;  behind → queued when the watcher has drained
 */
import type { Clock, Timer } from '../core/clock.ts'
import type { ServerMessage, Since } from '../discovery/wire.ts'
import { Acknowledgements, type Acknowledging } from './acknowledgements.ts'
import { mergeChanges } from './merge-changes.ts'
import { ServiceHistory } from './service-history.ts'
import { documentOf, type RegistryState, type ServiceChange } from './state.ts'

/** Changes of one service within this time are one message: far below the second in which they must be in force. */
const WINDOW_MS = 10
/** Unsent bytes above which deltas are dropped, and how long a watcher may stay there (control-plane 6.4). */
const BACKLOG_LIMIT = 1024 * 1024
const BLOCKED_MS = 30_000
/** Bookmarks are sent at every second tick: 10 s. */
const TICK_MS = 5_000
/** Snapshots written and not yet taken by the socket, at most (control-plane 6.5). */
const MOST_SNAPSHOTS = 20

export interface Position {
  readonly service?: string
  readonly revision: number
}

/** One stream to somebody who watches. */
export interface Watcher {
  /** Whether it acknowledges what it was sent; others are not waited for. */
  readonly acknowledges: boolean
  /** Bytes written and not yet taken by the socket. */
  backlog(): number
  /** `position`: up to where the watcher knows the service, or, without one, all services it watches. */
  write(line: Buffer, flushed?: () => void, position?: Position): void
  /** It has been blocked for too long. */
  close(reason: string): void
}

interface Subscription extends Acknowledging {
  readonly watcher: Watcher
  readonly channel: Channel
  state: 'current' | 'queued' | 'behind'
}

interface Channel {
  readonly service: string
  readonly subscriptions: Map<Watcher, Subscription>
  /** Revision of the last message about the service. */
  told: number
  pending: Pending | undefined
  frozen: boolean
  snapshot: { line: Buffer; intended: boolean } | undefined
  readonly acknowledgements: Acknowledgements
}

interface Pending {
  readonly changes: ServiceChange[]
  readonly timer: Timer
}

interface WatcherState {
  readonly subscriptions: Set<Subscription>
  blockedAt: number | undefined
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
  readonly #channels = new Map<string, Channel>()
  readonly #watchers = new Map<Watcher, WatcherState>()
  readonly #stopListening: () => void
  #queue: Subscription[] = []
  #inFlight = 0
  #tick: Timer
  #ticks = 0

  constructor(state: RegistryState, clock: Clock, history: ServiceHistory = new ServiceHistory(state.oldest)) {
    this.#state = state
    this.#clock = clock
    this.#history = history
    this.#stopListening = state.onChange((change) => this.#changed(change))
    this.#tick = clock.startBackgroundTimer(TICK_MS, () => this.#onTick(), undefined)
  }

  get watchers(): number {
    return this.#watchers.size
  }

  /** Begins a watch, or begins it anew. */
  watch(watcher: Watcher, service: string, since?: Since): void {
    const channel = this.#channel(service)
    // What is pending goes to those who watch already; the newcomer begins after it.
    this.#flush(channel)
    const known = this.#watchers.get(watcher) ?? { subscriptions: new Set(), blockedAt: undefined, inFlight: new Set() }
    this.#watchers.set(watcher, known)
    let subscription = channel.subscriptions.get(watcher)
    if (subscription === undefined) {
      const { acknowledges } = watcher
      subscription = { watcher, channel, state: 'current', acknowledges, acknowledged: 0 }
      channel.subscriptions.set(watcher, subscription)
      known.subscriptions.add(subscription)
    }
    const missed = since?.epoch === this.#state.epoch ? this.#missed(channel, since.revision) : undefined
    if (missed === undefined) this.#enqueue(subscription)
    else {
      subscription.state = 'current'
      this.#write(subscription, missed)
    }
  }

  unwatch(watcher: Watcher, service: string): void {
    const subscription = this.#channels.get(service)?.subscriptions.get(watcher)
    if (subscription !== undefined) this.#drop(subscription)
  }

  /** The watcher is gone. */
  leave(watcher: Watcher): void {
    const known = this.#watchers.get(watcher)
    if (known === undefined) return
    for (const subscription of known.subscriptions) this.#drop(subscription)
    this.#watchers.delete(watcher)
    for (const release of known.inFlight) release()
  }

  /** The watcher's socket has taken everything. */
  drained(watcher: Watcher): void {
    const known = this.#watchers.get(watcher)
    if (known === undefined) return
    known.blockedAt = undefined
    for (const subscription of known.subscriptions) if (subscription.state === 'behind') this.#enqueue(subscription)
  }

  acknowledge(watcher: Watcher, service: string, revision: number): void {
    const channel = this.#channels.get(service)
    const subscription = channel?.subscriptions.get(watcher)
    if (subscription !== undefined) channel!.acknowledgements.acknowledge(subscription, revision)
  }

  /** Calls `done` once everybody who watches `service` now has acknowledged `revision`, or has left. */
  whenSeen(service: string, revision: number, done: (watchers: number) => void): () => void {
    const channel = this.#channel(service)
    return channel.acknowledgements.wait(channel.subscriptions.values(), revision, done)
  }

  /** Whether expiry of the service's instances has stopped. No change of the store, so it has no revision of its own. */
  setFrozen(service: string, frozen: boolean): void {
    const channel = this.#channel(service)
    if (channel.frozen === frozen) return
    this.#flush(channel)
    channel.frozen = frozen
    channel.snapshot = undefined
    this.#broadcast(channel, { type: 'delta', service, previous: channel.told, revision: channel.told, frozen })
  }

  /** Sends what is pending. */
  flush(): void {
    for (const channel of this.#channels.values()) this.#flush(channel)
  }

  close(): void {
    this.flush()
    this.#stopListening()
    this.#clock.stopTimer(this.#tick)
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
      channel = {
        service,
        subscriptions: new Map(),
        told,
        pending: undefined,
        frozen: false,
        snapshot: undefined,
        acknowledgements: new Acknowledgements(),
      }
      this.#channels.set(service, channel)
    }
    return channel
  }

  #changed(change: ServiceChange): void {
    this.#history.keep(change)
    const channel = this.#channels.get(change.service)
    // Nobody has watched it yet: the first who does gets a snapshot.
    if (channel === undefined) return
    channel.snapshot = undefined
    if (channel.pending !== undefined) channel.pending.changes.push(change)
    else {
      const timer = this.#clock.startBackgroundTimer(WINDOW_MS, () => this.#flush(channel), undefined)
      channel.pending = { changes: [change], timer }
    }
  }

  #flush(channel: Channel): void {
    if (channel.pending === undefined) return
    const { changes, timer } = channel.pending
    channel.pending = undefined
    this.#clock.stopTimer(timer)
    const previous = channel.told
    channel.told = changes.at(-1)!.revision
    if (channel.subscriptions.size === 0) return
    this.#broadcast(channel, mergeChanges(channel.service, previous, channel.told, changes))
  }

  #broadcast(channel: Channel, message: ServerMessage): void {
    let line: Buffer | undefined
    for (const subscription of channel.subscriptions.values()) {
      if (subscription.state !== 'current') continue
      if (this.#isBlocked(subscription.watcher)) {
        subscription.state = 'behind'
        continue
      }
      line ??= this.encode(message)
      this.#write(subscription, line)
    }
  }

  #write({ watcher, channel }: Subscription, line: Buffer, flushed?: () => void): void {
    this.delivered += 1
    watcher.write(line, flushed, { service: channel.service, revision: channel.told })
  }

  /** The line that brings a watcher up to date from `revision`, or `undefined` if only a snapshot can. */
  #missed(channel: Channel, revision: number): Buffer | undefined {
    if (revision > this.#state.revision) return undefined
    const changes = this.#history.since(channel.service, revision)
    if (changes === undefined) return undefined
    const to = Math.max(revision, channel.told)
    return this.encode({ ...mergeChanges(channel.service, revision, to, changes), frozen: channel.frozen })
  }

  #isBlocked(watcher: Watcher): boolean {
    if (watcher.backlog() <= BACKLOG_LIMIT) return false
    const known = this.#watchers.get(watcher)
    if (known !== undefined) known.blockedAt ??= this.#clock.now()
    return true
  }

  #enqueue(subscription: Subscription): void {
    if (subscription.state === 'queued') return
    subscription.state = 'queued'
    this.#queue.push(subscription)
    this.#sendSnapshots()
  }

  #sendSnapshots(): void {
    while (this.#inFlight < MOST_SNAPSHOTS) {
      const subscription = this.#queue.shift()
      if (subscription === undefined) return
      const { watcher, channel } = subscription
      const known = this.#watchers.get(watcher)
      if (subscription.state !== 'queued' || known === undefined) continue
      if (this.#isBlocked(watcher)) {
        subscription.state = 'behind'
        continue
      }
      this.#flush(channel)
      subscription.state = 'current'
      this.#inFlight += 1
      const release = (): void => {
        if (!known.inFlight.delete(release)) return
        this.#inFlight -= 1
        this.#sendSnapshots()
      }
      known.inFlight.add(release)
      this.#write(subscription, this.#snapshot(channel), release)
    }
  }

  #snapshot(channel: Channel): Buffer {
    const intended = this.#state.intended(channel.service, this.#clock.wallNow())
    if (channel.snapshot?.intended === intended) return channel.snapshot.line
    const service = this.#state.service(channel.service)
    const line = this.encode({
      type: 'snapshot',
      service: channel.service,
      epoch: this.#state.epoch,
      revision: channel.told,
      instances: service === undefined ? [] : [...service.instances.values()].map((record) => record.instance),
      policy: documentOf(service?.policy ?? null),
      intended,
      frozen: channel.frozen,
    })
    channel.snapshot = { line, intended }
    return line
  }

  #drop(subscription: Subscription): void {
    const { channel, watcher } = subscription
    // Takes it out of the queue too: only queued subscriptions are sent a snapshot.
    subscription.state = 'behind'
    channel.subscriptions.delete(watcher)
    this.#watchers.get(watcher)?.subscriptions.delete(subscription)
    channel.acknowledgements.leave(subscription)
    // Names that exist only because somebody watched them must not pile up.
    if (
      channel.subscriptions.size === 0 &&
      channel.acknowledgements.waiting === 0 &&
      this.#state.service(channel.service) === undefined
    ) {
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
