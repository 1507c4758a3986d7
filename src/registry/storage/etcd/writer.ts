/**
 * Writes to etcd, one group of transactions at a time. A request whose outcome is unknown is sent
 * again, because the writer's slot lets it succeed once.
 */
import { StorageError } from '../errors.ts'
import type { TransactionResult } from '../storage.ts'
import { checkLimits } from '../transaction-limits.ts'
import type { EtcdClient } from './client.ts'
import { EtcdFailure } from './failure.ts'
import type { ChangeFeed } from './feed.ts'
import { encodeGroup, Group, type Transaction } from './group.ts'
import type { Health } from './health.ts'
import { OWN_KEYS } from './keys.ts'
import { outcomesBefore } from './past-outcomes.ts'
import { pause } from './pause.ts'

/** From the call to its outcome: longer than the election of a leader takes. */
const WRITE_MS = 5_000
/** The watch is as fast as the answer, unless its connection is dead. */
const DELIVERY_MS = 1_000
/**
 * A node forwards to a leader that is dead for as long as it has not noticed, so an attempt is cut
 * off early and made again elsewhere.
 */
const SHORTEST_ATTEMPT_MS = 300
const LONGEST_ATTEMPT_MS = 1_000
const EARLY_ATTEMPTS = 8
const LONGEST_PAUSE_MS = 200
/** How long a shutdown waits for writes. */
const CLOSE_MS = 1_000
/** Transactions that wait; more are refused. */
const MOST_WAITING = 20_000

interface Waiting extends Transaction {
  readonly until: number
  readonly resolve: (result: TransactionResult) => void
  readonly reject: (error: unknown) => void
}

export class Writer {
  readonly #client: EtcdClient
  readonly #feed: ChangeFeed
  readonly #health: Health
  readonly #slot: string
  #waiting: Waiting[] = []
  #revisionOfSlot = 0
  #sequence = 0
  /** Smoothed, of what was answered. */
  #latencyMs = 20
  #busy: Promise<void> | undefined
  #closed = false

  /** `run` names this process among the writers. */
  constructor(client: EtcdClient, feed: ChangeFeed, health: Health, run: string) {
    this.#client = client
    this.#feed = feed
    this.#health = health
    this.#slot = OWN_KEYS.writer(run)
  }

  /**
   * Resolves when the feed has delivered the change, or what kept it from being made.
   *
   * @throws StorageError
   */
  transact(transaction: Transaction): Promise<TransactionResult> {
    const { reason } = this.#health
    if (reason !== undefined) return Promise.reject(new StorageError(reason))
    return this.#enqueue(transaction)
  }

  /** Writes nothing but the slot: succeeds when the store can be written and the feed is live. */
  async probe(): Promise<void> {
    await this.#enqueue({ compares: [], operations: [] })
  }

  /** The store cannot be written: what waits need not wait longer. */
  giveUp(error: StorageError): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }

  /** Writes what waits, unless etcd is away, and removes the slot. False: it is away. */
  async close(): Promise<boolean> {
    this.#closed = true
    const over = new AbortController()
    const done = this.#busy?.then(() => over.abort())
    if (done !== undefined) await pause(CLOSE_MS, over.signal)
    this.giveUp(new StorageError('the store is closed'))
    if (this.#busy !== undefined || this.#revisionOfSlot === 0) return this.#busy === undefined
    const key = Buffer.from(this.#client.prefix + this.#slot)
    const removal = { compare: [], success: [{ request_delete_range: { key } }], failure: [] }
    return await this.#client.attempt('KV.Txn', removal).then(
      () => true,
      () => false,
    )
  }

  async #enqueue({ compares, operations }: Transaction): Promise<TransactionResult> {
    if (this.#closed) throw new StorageError('the store is closed')
    checkLimits(compares, operations)
    if (this.#waiting.length >= MOST_WAITING) throw new StorageError(`${MOST_WAITING} writes wait for etcd`)
    const until = performance.now() + WRITE_MS
    return await new Promise((resolve, reject) => {
      this.#waiting.push({ compares, operations, until, resolve, reject })
      this.#busy ??= this.#work()
    })
  }

  async #work(): Promise<void> {
    // All of one turn share a group.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#waiting.length > 0) {
      const group = new Group<Waiting>()
      let taken = 0
      while (taken < this.#waiting.length && group.add(this.#waiting[taken]!)) taken += 1
      const members = this.#inTime(this.#waiting.splice(0, taken))
      if (members.length === 0) continue
      try {
        const results = await this.#commit(members)
        this.#health.well('write')
        for (const [i, { resolve }] of members.entries()) resolve(results[i]!)
      } catch (error) {
        const reason = asStorageError(error)
        for (const { reject } of members) reject(reason)
      }
    }
    this.#busy = undefined
  }

  #patience(): number {
    return Math.min(LONGEST_ATTEMPT_MS, Math.max(SHORTEST_ATTEMPT_MS, 8 * this.#latencyMs))
  }

  #inTime(members: readonly Waiting[]): readonly Waiting[] {
    const now = performance.now()
    for (const { until, reject } of members) {
      if (until <= now) reject(new StorageError('etcd does not take writes as fast as they come'))
    }
    return members.filter(({ until }) => until > now)
  }

  async #commit(members: readonly Waiting[]): Promise<TransactionResult[]> {
    const until = members[0]!.until
    const value = `${Date.now()}-${++this.#sequence}`
    let outcomeUnknown = false
    for (let tries = 0; ; tries++) {
      const left = until - performance.now()
      if (left <= 0 && tries > 0) throw new StorageError('etcd does not take the write in time')
      try {
        const slot = { key: this.#slot, revision: this.#revisionOfSlot, value }
        const actual = members.map((member) => this.#withActualRevisions(member))
        const request = encodeGroup(this.#client.prefix, slot, actual)
        const sentAt = performance.now()
        const most = tries < EARLY_ATTEMPTS ? this.#patience() : LONGEST_ATTEMPT_MS
        const answer = await this.#client.attempt('KV.Txn', request, Math.max(1, Math.min(left, most)))
        this.#latencyMs += (performance.now() - sentAt - this.#latencyMs) / 8
        if (answer.succeeded) {
          const revision = Number(answer.header.revision)
          const outcomes = answer.responses.slice(1).map(({ response_txn }) => response_txn!.succeeded)
          return await this.#settle(revision, outcomes, until)
        }
        const found = answer.responses[0]!.response_range!.kvs[0]
        const revision = Number(found?.mod_revision ?? 0)
        if (found?.value.toString() === value) {
          return await this.#settle(revision, await outcomesBefore(this.#client, revision, actual), until)
        }
        if (found === undefined && outcomeUnknown) throw new StorageError('the outcome of the write is unknown')
        this.#revisionOfSlot = revision
      } catch (error) {
        if (!(error instanceof EtcdFailure) || error.kind !== 'transient') {
          if (error instanceof EtcdFailure) this.#refused(error)
          throw error
        }
        outcomeUnknown = true
        this.#health.unwell('write', error.message)
        if (this.#client.closing.aborted || performance.now() >= until) throw error
        await this.#client.pause(tries, LONGEST_PAUSE_MS)
      }
    }
  }

  /** What concerns one request says nothing about the next. */
  #refused({ message, details }: EtcdFailure): void {
    if (/too large|larger than max|lease not found|too many operations/i.test(details)) return
    this.#health.unwell('write', message, true)
  }

  /** The group is applied; it resolves when the feed has delivered it. */
  async #settle(revision: number, outcomes: readonly boolean[], until: number): Promise<TransactionResult[]> {
    this.#revisionOfSlot = revision
    for (;;) {
      const before = this.#feed.revision
      if (await this.#feed.reached(revision, DELIVERY_MS)) break
      // A feed that is behind gets there; one that stands still has lost its watch.
      if (this.#feed.revision > before && !this.#client.closing.aborted) continue
      if (performance.now() >= until || this.#client.closing.aborted) {
        throw new StorageError('etcd has taken the write but does not tell of it')
      }
      this.#feed.restart()
    }
    const at = this.#feed.changedAt
    return outcomes.map((ok) => ({ ok, revision: at }))
  }

  #withActualRevisions({ compares, operations }: Transaction): Transaction {
    const actual = compares.map((compare) => {
      if (!('key' in compare)) return compare
      const { key, revision } = compare
      return { key, revision: this.#feed.actualRevision(key, revision) }
    })
    return { compares: actual, operations }
  }
}

export function asStorageError(error: unknown): StorageError {
  if (error instanceof StorageError) return error
  return new StorageError((error as Error).message, { cause: error })
}
