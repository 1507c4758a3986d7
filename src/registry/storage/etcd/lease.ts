/**
 * The one lease of a process: what hangs on it vanishes when the process is silent for its time.
 */
import { randomBytes } from 'node:crypto'
import type { EtcdClient, Stream } from './client.ts'
import { EtcdFailure } from './failure.ts'
import { backoff, pause } from './pause.ts'
import { Code } from './status-codes.ts'

export const LEASE_SECONDS = 10
const BEAT_MS = 2_000
const ANSWER_MS = 1_500
const GRANT_MS = 5_000

export interface Lease {
  readonly id: string
  /** Resolves when etcd has ended it, or must be taken to have; never rejects. */
  readonly lost: Promise<void>
}

interface Kept extends Lease {
  readonly lose: () => void
  /** When the last answered beat was sent, on the monotonic clock. */
  heardAt: number
}

export class ProcessLease {
  readonly #client: EtcdClient
  /** Told when beats go unanswered, and when they are answered again. */
  readonly #beating: (reason: string | undefined) => void
  #current: Promise<Kept> | undefined
  #loops = new Set<Promise<void>>()

  constructor(client: EtcdClient, beating: (reason: string | undefined) => void) {
    this.#client = client
    this.#beating = beating
  }

  /**
   * The lease in force; a new one after the last was lost.
   *
   * @throws EtcdFailure
   */
  async current(): Promise<Lease> {
    this.#current ??= this.#grant()
    const granting = this.#current
    try {
      return await granting
    } catch (error) {
      if (this.#current === granting) this.#current = undefined
      throw error
    }
  }

  /** Everything that hangs on it vanishes at once, if etcd can be reached. */
  async close(): Promise<void> {
    const kept = await this.#current?.catch(() => undefined)
    this.#current = undefined
    if (kept === undefined) return
    await this.#client.ask('Lease.LeaseRevoke', { ID: kept.id }, 1_000).catch(() => {})
    kept.lose()
  }

  /** After the client was closed. */
  async ended(): Promise<void> {
    await Promise.all(this.#loops)
  }

  async #grant(): Promise<Kept> {
    // An id of our own lets the request be repeated.
    const id = String(randomBytes(8).readBigUInt64BE() & 0x7fff_ffff_ffff_ffffn || 1n)
    const heardAt = performance.now()
    try {
      await this.#client.ask('Lease.LeaseGrant', { ID: id, TTL: LEASE_SECONDS }, GRANT_MS)
    } catch (error) {
      const known = error instanceof EtcdFailure && /already exists/.test(error.details)
      if (!known) throw error
    }
    const { promise: lost, resolve: lose } = Promise.withResolvers<void>()
    const kept: Kept = { id, lost, lose, heardAt }
    lost.then(() => {
      this.#current = undefined
    })
    const loop = this.#keep(kept).finally(() => {
      this.#loops.delete(loop)
      lose()
    })
    this.#loops.add(loop)
    return kept
  }

  async #keep(kept: Kept): Promise<void> {
    const ending = new AbortController()
    kept.lost.then(() => ending.abort())
    const { closing } = this.#client
    for (let tries = 0; !closing.aborted && !ending.signal.aborted; tries++) {
      const until = kept.heardAt + LEASE_SECONDS * 1_000
      // From the sending on, so never later than etcd does.
      if (performance.now() >= until) return
      try {
        const stream = await this.#client.open('Lease.LeaseKeepAlive')
        await this.#beat(stream, kept, ending.signal, () => {
          tries = 0
        })
        return
      } catch (error) {
        if (closing.aborted) return
        this.#beating((error as Error).message)
        const left = kept.heardAt + LEASE_SECONDS * 1_000 - performance.now()
        await pause(Math.max(1, Math.min(left, backoff(tries, 500))), closing)
      }
    }
  }

  /** Resolves when the lease has ended; rejects when the stream has failed. */
  async #beat({ endpoint, call }: Stream<'Lease.LeaseKeepAlive'>, kept: Kept, ending: AbortSignal, heard: () => void) {
    let late = false
    call.on('error', () => {})
    const answers = call[Symbol.asyncIterator]() as AsyncIterator<{ readonly TTL: string }>
    const cancel = (): void => void call.cancel()
    ending.addEventListener('abort', cancel)
    try {
      for (;;) {
        const sentAt = performance.now()
        call.write({ ID: kept.id })
        const timer = setTimeout(() => {
          late = true
          call.cancel()
        }, ANSWER_MS)
        const { done, value } = await answers.next().finally(() => clearTimeout(timer))
        if (done === true)
          throw Object.assign(new Error(), { code: Code.unavailable, details: 'it ended the lease stream' })
        if (Number(value.TTL) <= 0) return
        kept.heardAt = sentAt
        heard()
        this.#beating(undefined)
        await pause(BEAT_MS, ending)
        if (ending.aborted) return
      }
    } catch (error) {
      if (ending.aborted) return
      const failure = new EtcdFailure(endpoint.address, late ? { code: Code.deadlineExceeded, details: '' } : error)
      this.#client.failed(endpoint, failure)
      throw failure
    } finally {
      ending.removeEventListener('abort', cancel)
      call.cancel()
    }
  }
}
