/**
 * One connection as a call: it chooses an endpoint and tries others until one admits it. It belongs
 * to the process and not to the request that opens it, so it inherits neither its deadline nor its
 * cancellation.
 */
import type { Call } from '../../core/call.ts'
import type { Outcome } from '../../core/outcome.ts'
import { CONNECT } from '../../core/protocol.ts'
import type { RequestHead } from '../../core/request-head.ts'
import { ClientCall } from '../call.ts'
import { callError } from '../call-error.ts'
import type { LocalAnswer } from '../local-end.ts'
import type { Routed } from '../routed.ts'
import type { Selection, Selector } from '../selection.ts'
import type { Transport } from '../transport.ts'
import { TcpAttempt } from './attempt.ts'
import type { TcpConnection } from './connection.ts'
import type { ConnectSettings } from './options.ts'
import type { TcpPool } from './pool.ts'

/** A service, as it is connected to. */
export type TcpService = Selector<Transport<TcpPool>>

/** What routes look at: conditions on parts of a request hold for none. */
const HEAD: RequestHead = Object.freeze({ method: CONNECT, path: '/', header: () => undefined })

/** Told once how connecting ended. */
export interface Connecting {
  /** Whether our side has sent all. */
  hasEnded(): boolean
  connected(connection: TcpConnection): void
  failed(error: unknown): void
}

export class TcpCall extends ClientCall {
  readonly transport: Transport<TcpPool>
  readonly #service: TcpService
  readonly #connecting: Connecting

  constructor(service: TcpService, { timeoutMs, key, retry }: ConnectSettings, connecting: Connecting) {
    super(service.select(HEAD, true), timeoutMs, undefined as Call | undefined)
    this.#service = service
    this.transport = service.transport
    this.#connecting = connecting
    this.hashKey = key
    this.resolve = (connection) => connecting.connected(connection as TcpConnection)
    this.reject = (error) => connecting.failed(error)
    if (!retry) this.once()
  }

  /** Begins; may be called once. */
  connect(): void {
    this.begin()
    this.startFirst(this.startedAt)
  }

  get ended(): boolean {
    return this.#connecting.hasEnded()
  }

  finish(): void {}

  failure(outcome: Outcome): unknown {
    return callError(this, outcome, this.stack.clock.now())
  }

  header(): undefined {
    return undefined
  }

  protected selectAgain(): Selection {
    return this.#service.select(HEAD, true)
  }

  /** What answers requests in this process has no answer for a connection. */
  protected answerBy(_answer: LocalAnswer, { name }: Routed): void {
    const why = name === '' ? 'no route of its document takes it' : 'its route sends no connection on'
    this.reject(this.endWith('refused', 'no-endpoints', new Error(why)))
  }

  protected attempt(resolve: (answer: unknown) => void, reject: (error: unknown) => void, driven: boolean): TcpAttempt {
    return new TcpAttempt(this, resolve, reject, driven)
  }
}
