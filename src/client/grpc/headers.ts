/**
 * The metadata of an attempt: the user's, then the carrier's. Reserved keys are dropped silently,
 * so that a handler may forward what it received.
 */
import type * as grpc from '@grpc/grpc-js'
import type { Attempt } from '../../core/attempt.ts'
import { type CarrierSetter, GRPC_FORMAT, TRACESTATE, writeCarrier } from '../../core/carrier.ts'
import { GRPC_PREVIOUS_ATTEMPTS, GRPC_TIMEOUT, isReserved } from '../../core/headers.ts'
import type { HeaderChanges } from '../../routing/settings.ts'

const PRINTABLE = /^[ -~]*$/

const METADATA: CarrierSetter<grpc.Metadata> = {
  format: GRPC_FORMAT,
  add(metadata, name, value) {
    metadata.set(name, value)
  },
  set(metadata, name, value) {
    // The only value that comes from outside unchecked; grpc-js throws for all but printable ASCII.
    if (name === TRACESTATE && !PRINTABLE.test(value)) metadata.remove(name)
    else metadata.set(name, value)
  },
  remove(metadata, name) {
    metadata.remove(name)
  },
}

/**
 * Adds everything that one attempt sends to `metadata`. `given` stays unchanged, because the next
 * attempt needs it again. `deadlineAt`: the deadline for the callee. A probe is no attempt.
 */
export function fillMetadata(
  metadata: grpc.Metadata,
  attempt: Attempt | undefined,
  given: grpc.Metadata,
  deadlineAt: number,
  now: number,
): void {
  metadata.merge(given)
  removeReserved(metadata, given)
  if (attempt !== undefined) writeCarrier(METADATA, metadata, attempt, deadlineAt, now)
  // The options are not copied: `waitForReady` would wait for this endpoint while another is ready.
}

/** Applies what a route changes. */
export function changeMetadata(metadata: grpc.Metadata, { remove, set, add }: HeaderChanges): void {
  for (const name of remove) metadata.remove(name)
  for (const [name, value] of set) metadata.set(name, value)
  for (const [name, value] of add) metadata.add(name, value)
}

/**
 * The metadata of a copy of a call: `given` with the changes for the copy's target, and what call
 * credentials added to `sent`.
 */
export function mirrorMetadata(
  given: grpc.Metadata,
  changes: readonly HeaderChanges[],
  sent: grpc.Metadata,
  authorized: grpc.Metadata | undefined,
): grpc.Metadata {
  const copy = given.clone()
  for (const each of changes) changeMetadata(copy, each)
  if (authorized === undefined) return copy
  for (const name of Object.keys(authorized.getMap())) {
    const values = authorized.get(name)
    if (values.length === sent.get(name).length) continue
    copy.remove(name)
    for (const value of values) copy.add(name, value)
  }
  return copy
}

function removeReserved(metadata: grpc.Metadata, given: grpc.Metadata): void {
  const entries = given.getMap()
  for (const key in entries) {
    if (isReserved(key) || key === GRPC_TIMEOUT || key === GRPC_PREVIOUS_ATTEMPTS) metadata.remove(key)
  }
}
