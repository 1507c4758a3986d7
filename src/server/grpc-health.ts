/** The standard health service (grpc.health.v1), which follows the drain: serving until it begins, not serving from then on. */
import type * as grpc from '@grpc/grpc-js'
import {
  decodeName,
  encodeState,
  HEALTH_SERVICE,
  NOT_SERVING,
  SERVICE_UNKNOWN,
  SERVING,
} from '../core/grpc-health-message.ts'
import { GRPC_STATUS } from '../core/status.ts'

type Watcher = grpc.ServerWritableStream<string, number>

export class GrpcHealth {
  readonly #server: grpc.Server
  /** False if the application serves its own. */
  readonly #own: boolean
  readonly #watchers = new Map<Watcher, number>()
  #serving = true

  constructor(server: grpc.Server) {
    this.#server = server
    this.#own = server.register(
      `${HEALTH_SERVICE}Check`,
      (call: grpc.ServerUnaryCall<string, number>, callback: grpc.sendUnaryData<number>) => {
        const state = this.#stateOf(call.request)
        if (state === SERVICE_UNKNOWN) {
          callback({ code: GRPC_STATUS.NOT_FOUND, details: `there is no service '${call.request}' here` })
        } else callback(null, state)
      },
      encodeState as never,
      decodeName as never,
      'unary',
    )
    if (!this.#own) return
    server.register(
      `${HEALTH_SERVICE}Watch`,
      ((call: Watcher) => this.#watch(call)) as never,
      encodeState as never,
      decodeName as never,
      'serverStream',
    )
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
    for (const watcher of this.#watchers.keys()) watcher.end()
    this.#watchers.clear()
  }

  #watch(call: Watcher): void {
    const state = this.#stateOf(call.request)
    this.#watchers.set(call, state)
    call.on('cancelled', () => this.#watchers.delete(call))
    call.write(state)
  }

  /** The empty name is the server as a whole. */
  #stateOf(name: string): number {
    if (name !== '' && !this.#has(name)) return SERVICE_UNKNOWN
    return this.#serving ? SERVING : NOT_SERVING
  }

  #has(name: string): boolean {
    const { handlers } = this.#server as unknown as { handlers: ReadonlyMap<string, unknown> }
    for (const path of handlers.keys()) if (path.startsWith(`/${name}/`)) return true
    return false
  }
}
