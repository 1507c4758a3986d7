/**
 * What an attempt of a gRPC call carries to the next process: the caller's metadata, and then ours.
 * Ours win; the mesh's own from elsewhere, and identities that other proxies would believe, are
 * left out silently, so that a handler may pass on the metadata it received.
 */
import type * as http2 from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import { formatBaggage } from '../../core/baggage.ts'
import { formatGrpcTimeout } from '../../core/deadline.ts'
import { claimsIdentity, GRPC_PREVIOUS_ATTEMPTS, GRPC_TIMEOUT, PREFIX } from '../../core/headers.ts'
import { formatTraceparent } from '../../core/trace-context.ts'
import type { GrpcAttempt } from './attempt.ts'
import { mark } from './stream.ts'
import type { Grpc } from './transport.ts'

/** The metadata of one attempt, which knows when it leaves. */
export interface OwnMetadata extends grpc.Metadata {
  owner: GrpcAttempt | undefined
}

/**
 * A kind of metadata that its attempt alone has, so that it need not be copied: grpc-js copies what
 * it is given twice on the way, lest the caller change it meanwhile.
 */
export function ownMetadata({ Metadata }: Grpc): new () => OwnMetadata {
  return class Own extends Metadata implements OwnMetadata {
    owner: GrpcAttempt | undefined = undefined

    override clone(): this {
      return this
    }

    /** grpc-js begins the stream with the result in the same breath. */
    override toHttp2Headers(): http2.OutgoingHttpHeaders {
      const headers = super.toHttp2Headers()
      if (this.owner !== undefined) {
        // Its start takes some microtasks, and does not look whether the call was cancelled
        // meanwhile.
        if (this.owner.ended) throw new Error('the attempt is over')
        this.owner.attend()
        mark(headers, this.owner)
      }
      return headers
    }
  }
}

/** All metadata of one attempt. `given` is never changed: the next attempt needs it again. */
export function attemptMetadata(attempt: GrpcAttempt, given: grpc.Metadata, now: number): grpc.Metadata {
  const { call } = attempt
  const metadata = new call.transport.OwnMetadata()
  metadata.owner = attempt
  metadata.merge(given)
  removeOurs(metadata, given)
  const trace = attempt.trace ?? call.trace
  if (trace !== undefined) {
    metadata.set('traceparent', formatTraceparent(trace))
    // grpc-js throws for what is no printable ASCII; without its state a trace goes on.
    if (trace.state === undefined || !PRINTABLE.test(trace.state)) metadata.remove('tracestate')
    else metadata.set('tracestate', trace.state)
  }
  const baggage = call.baggage === undefined ? undefined : formatBaggage(call.baggage)
  if (baggage !== undefined) metadata.set('baggage', baggage)
  const { sentDeadlineAt } = call
  if (sentDeadlineAt === Number.POSITIVE_INFINITY) metadata.remove(GRPC_TIMEOUT)
  else metadata.set(GRPC_TIMEOUT, formatGrpcTimeout(sentDeadlineAt - now))
  if (attempt.number > 0) metadata.set(GRPC_PREVIOUS_ATTEMPTS, String(attempt.number))
  else metadata.remove(GRPC_PREVIOUS_ATTEMPTS)
  // The options stay behind: `waitForReady` would wait for this one endpoint, while another is
  // there.
  return metadata
}

const PRINTABLE = /^[ -~]*$/

/** Takes out what only neighbours in the mesh may say to each other. */
function removeOurs(metadata: grpc.Metadata, given: grpc.Metadata): void {
  const entries = given.getMap()
  for (const key in entries) if (key.startsWith(PREFIX) || claimsIdentity(key)) metadata.remove(key)
}
