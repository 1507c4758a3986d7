/**
 * The standard health service (grpc.health.v1), which follows the drain: serving until it begins,
 * not serving from then on. One Server may stand behind several doors, so each call is answered by
 * the door that it came through.
 */
import type * as grpc from '@grpc/grpc-js'
import { inboundCall } from '../../core/context.ts'
import { GRPC_STATUS } from '../../core/status.ts'
import {
  decodeName,
  encodeState,
  HEALTH_SERVICE,
  NOT_SERVING,
  SERVICE_UNKNOWN,
  SERVING,
} from '../../net/grpc-health-message.ts'
import { GrpcServerCall } from './call.ts'

/** grpc-js takes an empty string for no message at all, so the name comes in an object. */
interface Asked {
  readonly name: string
}

type Watcher = grpc.ServerWritableStream<Asked, number>

export class GrpcHealth {
  readonly #server: grpc.Server
  /** False if the application serves its own. */
  readonly #own: boolean
  readonly #watchers = new Map<Watcher, number>()
  #serving = true
  #ended = false

  constructor(server: grpc.Server) {
    this.#server = server
    this.#own = offer(server)
  }

  /** Whether calls of `path` are answered here: for everybody who may connect at all. */
  owns(path: string): boolean {
    return this.#own && path.startsWith(HEALTH_SERVICE)
  }

  /** The drain has begun. */
  leave(): void {
    this.#serving = false
    for (const [watcher, told] of this.#watchers) {
      if (told !== SERVICE_UNKNOWN) watcher.write(NOT_SERVING)
    }
  }

  /** Nobody watches any more. */
  end(): void {
    this.#ended = true
    for (const watcher of this.#watchers.keys()) watcher.end()
    this.#watchers.clear()
  }

  /** @internal The empty name is the server as a whole. */
  stateOf(name: string): number {
    if (name !== '' && !this.#has(name)) return SERVICE_UNKNOWN
    return this.#serving ? SERVING : NOT_SERVING
  }

  /** @internal */
  watch(call: Watcher): void {
    const state = this.stateOf(call.request.name)
    call.write(state)
    if (this.#ended) {
      call.end()
      return
    }
    this.#watchers.set(call, state)
    call.on('cancelled', () => this.#watchers.delete(call))
  }

  #has(name: string): boolean {
    const { handlers } = this.#server as unknown as { handlers: ReadonlyMap<string, unknown> }
    for (const path of handlers.keys()) if (path.startsWith(`/${name}/`)) return true
    return false
  }
}

/** Those whose health service is ours. */
const offered = new WeakSet<grpc.Server>()

/** Registers the service, once for each Server; `false`: the application has its own. */
function offer(server: grpc.Server): boolean {
  if (offered.has(server)) return true
  // Of calls that come by no door of ours: the application has bound its Server itself as well.
  let elsewhere: GrpcHealth | undefined
  const asked = (): GrpcHealth => {
    const call = inboundCall()
    if (call instanceof GrpcServerCall) return call.health
    elsewhere ??= new GrpcHealth(server)
    return elsewhere
  }
  const decode = (bytes: Buffer): Asked => ({ name: decodeName(bytes) })
  const check: grpc.handleUnaryCall<Asked, number> = ({ request: { name } }, callback) => {
    const state = asked().stateOf(name)
    if (state !== SERVICE_UNKNOWN) callback(null, state)
    else callback({ code: GRPC_STATUS.NOT_FOUND, details: `there is no service '${name}' here` })
  }
  if (!server.register(`${HEALTH_SERVICE}Check`, check as never, encodeState as never, decode as never, 'unary')) {
    return false
  }
  offered.add(server)
  const watch = (call: Watcher): void => asked().watch(call)
  server.register(`${HEALTH_SERVICE}Watch`, watch as never, encodeState as never, decode as never, 'serverStream')
  return true
}
