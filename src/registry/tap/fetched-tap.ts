/** What another registry has seen for a tap here, checked as if processes had sent it. */

import { readField, readObject, SnapshotRejected } from '../../discovery/read-field.ts'
import { printable, readCall, TAP_SHAPE } from '../../discovery/tap/message.ts'
import { type Body, isCount, isList } from '../fleet/answer-checks.ts'
import type { SeenCall } from './tap-hub.ts'

export interface FetchedTap {
  readonly registry: string
  readonly processes: number
  readonly notTappable: readonly string[]
  readonly busy: readonly string[]
  readonly calls: readonly SeenCall[]
  readonly left: number
}

/** `undefined`: it is none of this version. */
export function fetchedIn({ registry, processes, notTappable, busy = [], calls, left }: Body): FetchedTap | undefined {
  if (!isList(notTappable) || !isList(busy) || !isList(calls) || !isCount(processes) || !isCount(left)) return undefined
  try {
    return {
      registry: printable(registry, 'registry'),
      processes: processes as number,
      notTappable: notTappable.map((one) => printable(one, 'notTappable')),
      busy: busy.map((one) => printable(one, 'busy')),
      calls: calls.map(readSeen),
      left: left as number,
    }
  } catch (error) {
    if (error instanceof SnapshotRejected) return undefined
    throw error
  }
}

function readSeen(value: unknown): SeenCall {
  const { from, process } = readObject(value, 'call')
  return {
    from: readField(TAP_SHAPE.service, from, 'from'),
    process: process === undefined ? undefined : printable(process, 'process'),
    ...readCall(value),
  }
}
