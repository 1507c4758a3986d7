/**
 * Probes a gRPC endpoint by the standard health service, on the connection of its calls but outside
 * their stack.
 */
import type { IncomingHttpHeaders } from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import type { ErrorCode } from '../../core/errors.ts'
import { NOT_EXECUTED } from '../../core/headers.ts'
import { GRPC_STATUS } from '../../core/status.ts'
import { decodeState, encodeName, HEALTH_SERVICE, SERVING } from '../../net/grpc-health-message.ts'
import { type Probe, type ProbeListener, TIMED_OUT } from '../health-checks.ts'
import type { Transport } from '../transport.ts'
import type { CallOwner, GrpcConnection } from './connection.ts'
import type { GrpcConnectionUser } from './connection-user.ts'
import type { CarriedCall, Grpc } from './grpc-js.ts'
import type { GrpcPool } from './pool.ts'
import type { CarryingStream } from './stream.ts'

/** Local refusals, which say nothing about the endpoint. */
const OURS: ReadonlySet<ErrorCode> = new Set(['queue-full', 'closed'])

/** What a probe needs of the transport. */
interface ProbeTransport extends Transport<GrpcPool> {
  readonly grpc: Grpc
}

/** A probe of gRPC endpoints. */
export function grpcHealth(transport: ProbeTransport): Probe {
  return (endpoint, timeoutMs, done) => {
    const probe = new HealthProbe(transport, done)
    probe.begin(transport.poolOf(endpoint), timeoutMs)
    return () => probe.cancel()
  }
}

class HealthProbe implements GrpcConnectionUser, CallOwner {
  readonly ahead = true
  leaving = false
  stream: CarryingStream | undefined = undefined
  httpStatus = 0
  trailers: IncomingHttpHeaders | undefined = undefined
  readonly #transport: ProbeTransport
  readonly #done: ProbeListener
  #pool: GrpcPool | undefined
  #connection: GrpcConnection | undefined
  #inner: CarriedCall | undefined
  #timer: object | undefined
  #state = 0
  #answered = false
  #over = false

  constructor(transport: ProbeTransport, done: ProbeListener) {
    this.#transport = transport
    this.#done = done
  }

  get ended(): boolean {
    return this.#over
  }

  begin(pool: GrpcPool, timeoutMs: number): void {
    this.#pool = pool
    this.#timer = this.#transport.clock.startBackgroundTimer(timeoutMs, (probe: HealthProbe) => probe.#timeUp(), this)
    pool.take(this)
  }

  cancel(): void {
    if (!this.#over) this.#letGo()
  }

  assigned(connection: GrpcConnection): void {
    const { grpc, clock } = this.#transport
    this.#connection = connection
    const head = { path: `${HEALTH_SERVICE}Check`, authority: undefined, metadata: new grpc.Metadata() }
    const unbounded = { attempt: undefined, deadlineAt: Number.POSITIVE_INFINITY, now: clock.now() }
    this.#inner = connection.begin({ ...head, ...unbounded }, this)
    this.#inner.startRead()
    this.#inner.sendMessageWithContext({}, encodeName(''))
    this.#inner.halfClose()
  }

  refused(code: ErrorCode, cause: unknown): void {
    this.#end(OURS.has(code) ? undefined : false, cause instanceof Error ? cause.message : code)
  }

  onReceiveMetadata(): void {}

  onReceiveMessage(message: Buffer): void {
    this.#state = decodeState(message)
  }

  onReceiveStatus({ code, details, metadata }: grpc.StatusObject): void {
    this.#answered = true
    if (code === GRPC_STATUS.OK) this.#end(this.#state === SERVING, `state ${this.#state}`)
    // Overloaded is not unhealthy.
    else if (code !== GRPC_STATUS.PERMISSION_DENIED && metadata.get(NOT_EXECUTED).length > 0)
      this.#end(undefined, details)
    else this.#end(false, `status ${code}: ${details}`)
  }

  #timeUp(): void {
    // All streams that the peer allows are in use. That is not unhealthy.
    const full = this.#connection === undefined && this.#pool!.reachable
    this.#end(full ? undefined : false, TIMED_OUT)
  }

  #end(healthy: boolean | undefined, reason: string): void {
    if (this.#over) return
    this.#letGo()
    this.#done(healthy, reason)
  }

  #letGo(): void {
    this.#over = true
    if (this.#timer !== undefined) this.#transport.clock.stopTimer(this.#timer)
    if (this.#connection === undefined) this.#pool?.leave(this)
    else this.#connection.release(!this.#answered)
    this.#inner?.cancelWithStatus(GRPC_STATUS.CANCELLED, 'the probe is over')
  }
}
