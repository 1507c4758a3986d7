/**
 * The metadata of an attempt: the user's, then the carrier's. Reserved keys are dropped silently,
 * so that a handler may forward what it received.
 */
import type * as http2 from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import { type CarrierSetter, GRPC_FORMAT, TRACESTATE, writeCarrier } from '../../core/carrier.ts'
import { GRPC_PREVIOUS_ATTEMPTS, GRPC_TIMEOUT, isReserved } from '../../core/headers.ts'
import type { GrpcAttempt } from './attempt.ts'
import { mark } from './stream.ts'
import type { Grpc } from './transport.ts'

/** The metadata of one attempt, notified when it is sent. */
export interface OwnMetadata extends grpc.Metadata {
  owner: GrpcAttempt | undefined
}

/**
 * Metadata that is never cloned, because its attempt alone owns it. grpc-js clones twice per call,
 * in case the caller changes its metadata meanwhile.
 */
export function ownMetadata({ Metadata }: Grpc): new () => OwnMetadata {
  return class Own extends Metadata implements OwnMetadata {
    owner: GrpcAttempt | undefined = undefined

    override clone(): this {
      return this
    }

    /** grpc-js opens the stream with the result, synchronously. */
    override toHttp2Headers(): http2.OutgoingHttpHeaders {
      const headers = super.toHttp2Headers()
      if (this.owner !== undefined) {
        // grpc-js starts a call some microtasks later, and does not check whether it was cancelled
        // meanwhile.
        if (this.owner.ended) throw new Error('the attempt is over')
        this.owner.attend()
        mark(headers, this.owner)
      }
      return headers
    }
  }
}

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

/** All metadata of one attempt. `given` is not changed: the next attempt needs it again. */
export function attemptMetadata(attempt: GrpcAttempt, given: grpc.Metadata, now: number): grpc.Metadata {
  const { call } = attempt
  const metadata = new call.transport.OwnMetadata()
  metadata.owner = attempt
  metadata.merge(given)
  removeReserved(metadata, given)
  writeCarrier(METADATA, metadata, attempt, call.sentDeadlineAt, now)
  // The options are not copied: `waitForReady` would wait for this endpoint while another is ready.
  return metadata
}

function removeReserved(metadata: grpc.Metadata, given: grpc.Metadata): void {
  const entries = given.getMap()
  for (const key in entries) {
    if (isReserved(key) || key === GRPC_TIMEOUT || key === GRPC_PREVIOUS_ATTEMPTS) metadata.remove(key)
  }
}
