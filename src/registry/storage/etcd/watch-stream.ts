/** One watch of etcd on one stream. */
import type { EtcdClient } from './client.ts'
import { EtcdFailure } from './failure.ts'
import type { WatchResponse } from './messages.ts'
import { Code } from './status-codes.ts'

const CREATED_MS = 2_000

export interface WatchRange {
  readonly key: Buffer
  readonly range_end: Buffer
  readonly start_revision: number
}

export interface Watch {
  /** Ends with an {@link EtcdFailure}, or with {@link Compacted}. */
  readonly responses: AsyncIterable<WatchResponse>
  /** Ends the responses with a failure. */
  cancel(): void
}

/** The history up to `revision` is gone. */
export class Compacted extends Error {
  override readonly name = 'Compacted'
  readonly revision: number

  constructor(revision: number) {
    super(`etcd has compacted its history up to revision ${revision}`)
    this.revision = revision
  }
}

/**
 * Resolves when etcd has created the watch.
 *
 * @throws Compacted if the history no longer goes back so far
 * @throws EtcdFailure after which the node in use is another
 */
export async function openWatch(client: EtcdClient, range: WatchRange): Promise<Watch> {
  const { endpoint, call } = await client.open('Watch.Watch')
  let cancelled = false
  let late = false
  const fail = (error: unknown): Error => {
    if (error instanceof Compacted) return error
    const failure = new EtcdFailure(endpoint.address, late ? { code: Code.deadlineExceeded, details: '' } : error)
    if (!cancelled) client.failed(endpoint, failure)
    return failure
  }
  const timer = setTimeout(() => {
    late = true
    call.cancel()
  }, CREATED_MS)
  // It may fail while nothing reads it.
  call.on('error', () => {})
  call.write({ create_request: { ...range, progress_notify: true } })
  const responses = read(call, fail)
  try {
    const { done, value } = await responses.next()
    if (done === true || !value.created) throw fail(new Error('it ended the watch'))
    return {
      responses,
      cancel: () => {
        cancelled = true
        call.cancel()
      },
    }
  } catch (error) {
    call.cancel()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

async function* read(
  call: AsyncIterable<WatchResponse>,
  fail: (error: unknown) => Error,
): AsyncGenerator<WatchResponse> {
  try {
    for await (const response of call) {
      const { canceled, cancel_reason, compact_revision } = response
      if (canceled && Number(compact_revision) > 0) throw new Compacted(Number(compact_revision))
      if (canceled)
        throw Object.assign(new Error(cancel_reason), { code: codeOf(cancel_reason), details: cancel_reason })
      yield response
    }
  } catch (error) {
    throw fail(error)
  }
  throw fail(Object.assign(new Error(), { code: Code.unavailable, details: 'it ended the watch' }))
}

function codeOf(reason: string): number {
  return /permission denied/.test(reason) ? Code.permissionDenied : Code.unavailable
}
