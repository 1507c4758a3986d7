/** The metadata of an answer, as the route of its call changes it. */
import type * as grpc from '@grpc/grpc-js'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ClientCall } from '../call.ts'
import { sessionOfAnswer } from '../targets/session-answer.ts'
import { changeMetadata } from './headers.ts'

export function changeAnswer(metadata: grpc.Metadata, call: ClientCall, endpoint: Endpoint | undefined): void {
  const { routed } = call
  if (routed === undefined) return
  if (routed.route?.session !== undefined) {
    const session = sessionOfAnswer(routed, endpoint, (name) => call.header(name), call.stack.clock.wallNow())
    if (session !== undefined) metadata.add(...session)
  }
  for (const changes of routed.responseChanges) changeMetadata(metadata, changes)
}
