/**
 * The standard health service (grpc.health.v1). It reports SERVING until the drain begins, and
 * NOT_SERVING from then on.
 */
import type * as grpc from '@grpc/grpc-js'
import { GRPC_STATUS } from '../../core/status.ts'
import {
  decodeName,
  encodeState,
  HEALTH_SERVICE,
  NOT_SERVING,
  SERVICE_UNKNOWN,
  SERVING,
} from '../../net/grpc-health-message.ts'
import { hasService } from './internals.ts'

/** grpc-js takes an empty string for a missing message, so the name is wrapped in an object. */
interface HealthRequest {
  readonly name: string
}

type Watcher = grpc.ServerWritableStream<HealthRequest, number>

/**
 * The health of the mesh server that received the running call. Several may share one grpc-js
 * `Server`; `undefined` for a call that came through none of them.
 */
export type CurrentHealth = () => GrpcHealth | undefined

export class GrpcHealth {
  readonly #server: grpc.Server
  /** False if the application registered a health service. */
  readonly #registered: boolean
  readonly #watchers = new Map<Watcher, number>()
  #serving = true
  #ended = false

  constructor(server: grpc.Server, current: CurrentHealth) {
    this.#server = server
    this.#registered = register(server, current)
  }

  /** Whether our health service answers `path`. Every verified peer may call it. */
  answers(path: string): boolean {
    return this.#registered && path.startsWith(HEALTH_SERVICE)
  }

  /** The drain has begun: watchers receive NOT_SERVING. */
  stopServing(): void {
    this.#serving = false
    for (const [watcher, sent] of this.#watchers) {
      if (sent !== SERVICE_UNKNOWN) watcher.write(NOT_SERVING)
    }
  }

  /** Ends all watches. */
  end(): void {
    this.#ended = true
    for (const watcher of this.#watchers.keys()) watcher.end()
    this.#watchers.clear()
  }

  /** @internal The empty name stands for the server as a whole. */
  stateOf(name: string): number {
    if (name !== '' && !hasService(this.#server, name)) return SERVICE_UNKNOWN
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
}

/** Servers on which our health service is registered. */
const registered = new WeakSet<grpc.Server>()

/** Registers the service once for each `Server`. False: the application registered its own. */
function register(server: grpc.Server, current: CurrentHealth): boolean {
  if (registered.has(server)) return true
  // Answers calls through a port that the application bound itself.
  let elsewhere: GrpcHealth | undefined
  const health = (): GrpcHealth => {
    const ours = current()
    if (ours !== undefined) return ours
    elsewhere ??= new GrpcHealth(server, current)
    return elsewhere
  }
  const decode = (bytes: Buffer): HealthRequest => ({ name: decodeName(bytes) })
  const check: grpc.handleUnaryCall<HealthRequest, number> = ({ request: { name } }, callback) => {
    const state = health().stateOf(name)
    if (state !== SERVICE_UNKNOWN) callback(null, state)
    else callback({ code: GRPC_STATUS.NOT_FOUND, details: `there is no service '${name}' here` })
  }
  if (!server.register(`${HEALTH_SERVICE}Check`, check as never, encodeState as never, decode as never, 'unary')) {
    return false
  }
  registered.add(server)
  const watch = (call: Watcher): void => health().watch(call)
  server.register(`${HEALTH_SERVICE}Watch`, watch as never, encodeState as never, decode as never, 'serverStream')
  return true
}
