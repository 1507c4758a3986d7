/**
 * Call credentials: a caller's generator adds to the metadata of each attempt. It runs before the
 * stream begins, so that a failed or cancelled attempt was certainly not sent.
 */
import type * as grpc from '@grpc/grpc-js'
import { GRPC_STATUS } from '../../core/status.ts'
import { type GeneratorOptions, generatorOf, partsOf } from './internals.ts'

/** Statuses that only a server may give (gRFC A54). */
const OF_SERVERS: ReadonlySet<number> = new Set([
  GRPC_STATUS.OK,
  GRPC_STATUS.INVALID_ARGUMENT,
  GRPC_STATUS.NOT_FOUND,
  GRPC_STATUS.ALREADY_EXISTS,
  GRPC_STATUS.FAILED_PRECONDITION,
  GRPC_STATUS.ABORTED,
  GRPC_STATUS.OUT_OF_RANGE,
  GRPC_STATUS.DATA_LOSS,
])

/** `given` with what `credentials` add to it for a call of `path`; rejects if they fail. */
export async function authorized(
  given: grpc.Metadata,
  credentials: grpc.CallCredentials,
  path: string,
  authority: string,
): Promise<grpc.Metadata> {
  const host = authority.replace(/:\d+$/, '')
  const service = path.slice(1, path.lastIndexOf('/'))
  const options = { method_name: path, service_url: `https://${host}/${service}` }
  const metadata = given.clone()
  for (const each of await Promise.all(partsOf(credentials).map((one) => ask(one, options)))) metadata.merge(each)
  if (metadata.get('authorization').length <= 1) return metadata
  const message = '"authorization" metadata cannot have multiple values'
  throw Object.assign(new Error(message), { code: GRPC_STATUS.INTERNAL })
}

/**
 * grpc-js drops the promise of an async generator function, whose rejection would end the process.
 */
function ask(credentials: grpc.CallCredentials, options: GeneratorOptions): Promise<grpc.Metadata> {
  const generator = generatorOf(credentials)
  if (generator === undefined) return credentials.generateMetadata(options)
  return new Promise((resolve, reject) => {
    const returned = generator.call(credentials, options, (error, metadata) => {
      if (metadata === undefined) reject(error)
      else resolve(metadata)
    })
    // After its answer, a rejection changes nothing.
    Promise.resolve(returned).catch(reject)
  })
}

/** The status of a call whose credentials failed with `error`. */
export function credentialsFailure(error: unknown): { readonly code: number; readonly details: string } {
  const { code, message } = read(error)
  const details = `Getting metadata from plugin failed with error: ${message}`
  if (Number.isInteger(code) && code > 0 && code <= GRPC_STATUS.UNAUTHENTICATED && !OF_SERVERS.has(code)) {
    return { code, details }
  }
  return { code: GRPC_STATUS.INTERNAL, details: `Invalid status from control plane: ${code} ${details}` }
}

/** Reads any value, including one whose getters throw. */
function read(error: unknown): { readonly code: number; readonly message: string } {
  try {
    const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
    return { code: typeof code === 'number' ? code : GRPC_STATUS.UNKNOWN, message: String(message ?? error) }
  } catch {
    return { code: GRPC_STATUS.UNKNOWN, message: 'one that cannot be shown' }
  }
}
