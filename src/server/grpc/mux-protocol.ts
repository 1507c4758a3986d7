/** The mux for a gRPC server, with the connection options of the application's `Server`. */
import type { Socket } from 'node:net'
import { MUX_DEFAULTS } from '../../mux/settings.ts'
import type { CallerIdentity } from '../inbound-call.ts'
import type { MuxConnection } from '../mux/connection.ts'
import { type MuxHost, MuxProtocol } from '../mux/protocol.ts'
import type { ServerInternals } from './internals.ts'
import type { GrpcServerSettings } from './options.ts'

/** Connections end up to this share sooner or later than their age, so that not all end at once. */
const AGE_JITTER = 0.1

export class GrpcMuxProtocol extends MuxProtocol {
  readonly #host: MuxHost
  readonly #ageMs: number

  constructor(host: MuxHost, settings: GrpcServerSettings, { options, commonServerOptions }: ServerInternals) {
    const graceMs = given(options['grpc.max_connection_age_grace_ms'])
    super(host, {
      session: {
        ...MUX_DEFAULTS,
        maxStreams: commonServerOptions.settings?.maxConcurrentStreams ?? MUX_DEFAULTS.maxStreams,
        pingAfterMs: Math.min(settings.keepalive, given(options['grpc.keepalive_time_ms'])),
        pingTimeoutMs: Math.min(settings.keepalive, given(options['grpc.keepalive_timeout_ms'])),
        firstFrameMs: settings.headersTimeout,
      },
      idleMs: given(options['grpc.max_connection_idle_ms']),
      streamGraceMs: Math.min(settings.streamGrace, graceMs),
    })
    this.#host = host
    this.#ageMs = given(options['grpc.max_connection_age_ms'])
  }

  override createConnection(
    socket: Socket,
    caller: CallerIdentity | undefined,
    expiresAt: number,
    retireAt: number,
  ): MuxConnection {
    const connection = super.createConnection(socket, caller, expiresAt, retireAt)
    const { clock } = this.#host
    const share = 1 + AGE_JITTER * (2 * clock.random() - 1)
    connection.retire(clock.now() + this.#ageMs * share)
    return connection
  }
}

function given(ms: unknown): number {
  return typeof ms === 'number' && ms >= 0 ? ms : Number.POSITIVE_INFINITY
}
