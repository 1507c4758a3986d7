/**
 * Sends snapshots to those who need one, some at a time, and encodes in steps between which the
 * event loop turns. What changes meanwhile follows as a delta.
 */
import type { Clock } from '../../core/clock.ts'
import type { Removal } from '../records.ts'
import type { RegistryState } from '../state.ts'
import type { Channel, Subscription } from './channel.ts'
import { mergeChanges } from './merge-changes.ts'
import { NearestNames } from './nearest-names.ts'
import type { ServiceHistory } from './service-history.ts'
import { EncodedSnapshot, type SnapshotHead } from './snapshot.ts'

/** Bound of the snapshots written and not yet taken by the socket. */
const MOST_IN_FLIGHT = 20
/** Removed instances that a snapshot names, at most: one deployment of a large service. */
const MOST_GONE = 2_000
/** How long a large snapshot is sent with a delta behind it, and how long one is kept. */
const FRESH_MS = 1_000
const KEPT_MS = 30_000

export interface SnapshotsHost {
  readonly state: RegistryState
  readonly history: ServiceHistory
  readonly clock: Clock
  /** The snapshots of its watcher that are in flight; `undefined`: it gets none now. */
  admit(subscription: Subscription): Set<() => void> | undefined
  write(subscription: Subscription, lines: readonly Buffer[], flushed: () => void): void
  /** What brings a watcher up to date from a revision; `undefined`: only a snapshot does. */
  missed(channel: Channel, revision: number): Buffer | undefined
  encoded(lines: number): void
}

export class Snapshots {
  readonly #host: SnapshotsHost
  readonly #names: NearestNames
  #queue: Subscription[] = []
  #inFlight = 0
  #nextStep: NodeJS.Immediate | undefined

  constructor(host: SnapshotsHost) {
    this.#host = host
    this.#names = new NearestNames(() => host.state.services, host.clock)
  }

  enqueue(subscription: Subscription): void {
    if (subscription.state === 'queued') return
    subscription.state = 'queued'
    this.#queue.push(subscription)
    this.#send()
  }

  /** Drops what is kept of a service that nothing was sent of for long. */
  forget(channel: Channel): void {
    const { snapshot } = channel
    if (snapshot?.isComplete === true && this.#host.clock.now() - snapshot.at > KEPT_MS) channel.snapshot = undefined
  }

  close(): void {
    this.#queue = []
    if (this.#nextStep !== undefined) clearImmediate(this.#nextStep)
  }

  #send(): void {
    while (this.#inFlight < MOST_IN_FLIGHT) {
      const subscription = this.#queue[0]
      if (subscription === undefined) return
      const inFlight = subscription.state === 'queued' ? this.#host.admit(subscription) : undefined
      if (inFlight !== undefined) {
        const lines = this.#linesFor(subscription.channel)
        if (lines === undefined) return
        this.#sendTo(subscription, lines, inFlight)
      }
      this.#queue.shift()
    }
  }

  #sendTo(subscription: Subscription, lines: readonly Buffer[], inFlight: Set<() => void>): void {
    subscription.state = 'current'
    this.#inFlight += 1
    const release = (): void => {
      if (!inFlight.delete(release)) return
      this.#inFlight -= 1
      this.#send()
    }
    inFlight.add(release)
    this.#host.write(subscription, lines, release)
  }

  /** `undefined`: they are being encoded, and the queue goes on when they are. */
  #linesFor(channel: Channel): readonly Buffer[] | undefined {
    channel.flush()
    const snapshot = this.#current(channel)
    // One step in each turn.
    if (!snapshot.isComplete && this.#nextStep === undefined) this.#step(snapshot)
    if (!snapshot.isComplete) return undefined
    const { revision, frozen } = snapshot.head
    if (revision === channel.position.revision && frozen === channel.frozen) return snapshot.lines
    return [...snapshot.lines, this.#host.missed(channel, revision)!]
  }

  #step(snapshot: EncodedSnapshot): void {
    snapshot.step()
    if (snapshot.isComplete) this.#host.encoded(snapshot.lines.length)
    else {
      this.#nextStep = setImmediate(() => {
        this.#nextStep = undefined
        this.#send()
      })
    }
  }

  /** The one that is, or one that a delta completes; otherwise a new one. */
  #current(channel: Channel): EncodedSnapshot {
    const { state, clock } = this.#host
    const intended = state.intended(channel.service, clock.wallNow())
    const known = channel.snapshot
    if (known?.head.intended === intended) {
      const { revision, frozen } = known.head
      if (revision === channel.position.revision && frozen === channel.frozen) return known
      const isFresh = !known.isComplete || (known.isLarge && clock.now() - known.at < FRESH_MS)
      if (isFresh && this.#host.missed(channel, revision) !== undefined) return known
    }
    const service = state.service(channel.service)
    const records = service === undefined ? [] : [...service.instances.values()]
    channel.snapshot = new EncodedSnapshot(this.#headOf(channel, intended), records, clock.now())
    return channel.snapshot
  }

  #headOf(channel: Channel, intended: boolean): SnapshotHead {
    const { state, history } = this.#host
    const { service, frozen, position } = channel
    const { gone } = mergeChanges(service, 0, 0, history.recent(service))
    const entry = state.service(service)
    // A document alone may be of a mistyped name, too.
    const nearest = (entry?.instances.size ?? 0) === 0 && gone === undefined ? this.#names.to(service) : undefined
    return {
      type: 'snapshot',
      service,
      epoch: state.epoch,
      revision: position.revision,
      policy: state.served.documentOf(service),
      intended,
      frozen,
      ...(nearest !== undefined && { nearest }),
      // Who is gone of late, for watchers that knew them.
      ...(gone !== undefined && { gone: gone.slice(-MOST_GONE) as readonly Removal[] }),
    }
  }
}
