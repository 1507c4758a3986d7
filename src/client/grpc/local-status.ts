/** The status with which a route answers by itself. */
import type * as grpc from '@grpc/grpc-js'
import { GRPC_STATUS } from '../../core/status.ts'
import type { LocalAnswer } from '../local-end.ts'
import type { Routed } from '../routed.ts'

/** `metadata`: filled with the headers of the answer. */
export function localStatus(answer: LocalAnswer, { name, target }: Routed, metadata: grpc.Metadata): grpc.StatusObject {
  if (answer.kind === 'redirect') {
    const details = `the route '${name}' redirects to another URL, which gRPC cannot`
    return { code: GRPC_STATUS.UNIMPLEMENTED, details, metadata }
  }
  const { grpcStatus: code, body, headers } = answer
  for (const [header, value] of headers) metadata.set(header, value)
  if (body !== '') return { code, details: body, metadata }
  if (name === '') return { code, details: 'no route matches the call', metadata }
  const why = target?.missing === true ? 'leads to a target that does not exist' : 'answers by itself'
  return { code, details: `the route '${name}' ${why}`, metadata }
}
