/**
 * The standard health service (grpc.health.v1), which follows the drain: serving until it begins, not serving from then on. Its two messages
 * have one field each and never change, so they are written here, without the packages that could read their `.proto`.
 */
import type * as grpc from '@grpc/grpc-js'
import { GRPC_STATUS } from '../core/status.ts'

const SERVICE = '/grpc.health.v1.Health/'
const SERVING = 1
const NOT_SERVING = 2
const SERVICE_UNKNOWN = 3
/** Of a name of a service; longer ones are nobody's. */
const LONGEST_NAME = 512

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
      `${SERVICE}Check`,
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
      `${SERVICE}Watch`,
      ((call: Watcher) => this.#watch(call)) as never,
      encodeState as never,
      decodeName as never,
      'serverStream',
    )
  }

  /** Whether calls of `path` are answered here: for everybody who may connect at all. */
  owns(path: string): boolean {
    return this.#own && path.startsWith(SERVICE)
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

/** `HealthCheckResponse { ServingStatus status = 1 }`. */
export function encodeState(state: number): Buffer {
  return Buffer.from([0x08, state])
}

export function decodeState(bytes: Buffer): number {
  return bytes.length >= 2 && bytes[0] === 0x08 ? bytes[1]! : 0
}

/** `HealthCheckRequest { string service = 1 }`. */
export function decodeName(bytes: Buffer): string {
  if (bytes.length === 0) return ''
  let length = 0
  let at = 1
  for (let shift = 0; at < bytes.length && shift < 28; shift += 7) {
    const byte = bytes[at++]!
    length |= (byte & 0x7f) << shift
    if (byte < 0x80) break
  }
  if (bytes[0] !== 0x0a || length > LONGEST_NAME || at + length > bytes.length) throw new Error('no HealthCheckRequest')
  return bytes.toString('utf8', at, at + length)
}
