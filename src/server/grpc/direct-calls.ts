/**
 * Decides which calls of the mux are {@link DirectCall}s. An empty call, which runs no handler,
 * shows first whether grpc-js is as expected.
 */
import { EventEmitter } from 'node:events'
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import { DirectCall, type DirectSettings } from './direct-call.ts'
import type { InnerCall, InterceptedCall } from './intercepted-call.ts'
import {
  asInterceptingCall,
  type Handler,
  type Runner,
  runnerOf,
  type ServerInternals,
  type StreamListener,
} from './internals.ts'
import { GrpcMuxStream } from './mux-stream.ts'
import { UnaryRun } from './unary-call.ts'

/** Environment variables by which grpc-js traces calls, or tells the caller more of errors. */
const TELLING = ['GRPC_TRACE', 'GRPC_NODE_TRACE', 'GRPC_NODE_DEBUG_SEND_ERROR_DETAILS']
/** Options of a `Server` for which only grpc-js's own call has the code. */
const RECORDING = ['grpc.enable_channelz', 'grpc.server_call_metric_recording']
/** grpc-js's default, in bytes. */
const MAX_RECEIVE = 4 * 1024 * 1024
/** grpc-js's word for it. */
const NO_LIMIT = -1

const KINDS: ReadonlySet<unknown> = new Set(['unary', 'clientStream', 'serverStream', 'bidi'])

class SilentStream extends EventEmitter {
  pause(): void {}
  resume(): void {}
  respond(): void {}
}

export class DirectCalls {
  readonly #internals: ServerInternals
  readonly #Metadata: typeof grpc.Metadata
  /** `undefined`: every call takes grpc-js's way. */
  readonly #run: Runner | undefined
  /** Known once grpc-js has had a call. */
  #settings: DirectSettings | undefined = undefined

  constructor(internals: ServerInternals, { Metadata }: typeof grpc, intercepted: boolean) {
    this.#internals = internals
    this.#Metadata = Metadata
    const { options } = internals
    const special =
      intercepted || RECORDING.some((name) => options[name]) || TELLING.some((name) => process.env[name] !== undefined)
    this.#run = special ? undefined : runnerOf(internals)
  }

  /** Has grpc-js create a call. Unary handlers wait for a message, which never comes. */
  probe(hand: StreamListener): void {
    const { handlers } = this.#internals
    const path = [...handlers.keys()].find((each) => handlers.get(each)!.type === 'unary')
    if (this.#run === undefined || path === undefined) return
    const headers = { ':path': path, 'content-type': 'application/grpc' }
    hand(new SilentStream() as unknown as ServerHttp2Stream, headers, 0)
  }

  /** `call`: grpc-js's own. */
  learn(call: InnerCall): void {
    if (this.#run === undefined || this.#settings !== undefined) return
    const recorder = call.getMetricsRecorder?.()
    if (recorder === undefined) return
    this.#settings = {
      Metadata: this.#Metadata,
      MetricsRecorder: recorder.constructor as DirectSettings['MetricsRecorder'],
      maxReceive: this.#limit('grpc.max_receive_message_length', MAX_RECEIVE),
      maxSend: this.#limit('grpc.max_send_message_length', NO_LIMIT),
    }
  }

  /** Runs the handler for `call`. False: the call has to take grpc-js's way. */
  dispatch(call: InterceptedCall & { readonly headers: IncomingHttpHeaders }): boolean {
    const { stream, headers } = call
    const settings = this.#settings
    if (settings === undefined || !(stream instanceof GrpcMuxStream) || !isPlain(headers)) return false
    const path = headers[':path'] ?? ''
    const handler = this.#internals.handlers.get(path)
    if (handler === undefined || !isKnown(handler)) return false
    const { type } = handler
    const inner = new DirectCall(stream, headers, handler, settings)
    call.attach(inner, type, type === 'clientStream' || type === 'bidi')
    if (type === 'unary') call.start(new UnaryRun(call, path, handler))
    else this.#run!.call(this.#internals, asInterceptingCall(call), handler)
    return true
  }

  /** As grpc-js compares: what is no number is no limit. */
  #limit(option: string, byDefault: number): number {
    const { options } = this.#internals
    const bytes = option in options ? Number(options[option]) : byDefault
    return bytes === NO_LIMIT || Number.isNaN(bytes) ? Number.POSITIVE_INFINITY : bytes
  }
}

/** Uncompressed, and gRPC at all. */
function isPlain(headers: IncomingHttpHeaders): boolean {
  const encoding = headers['grpc-encoding']
  if (encoding !== undefined && encoding !== 'identity') return false
  return headers['content-type']?.startsWith('application/grpc') === true
}

function isKnown({ type, serialize, deserialize }: Handler): boolean {
  return KINDS.has(type) && typeof serialize === 'function' && typeof deserialize === 'function'
}
