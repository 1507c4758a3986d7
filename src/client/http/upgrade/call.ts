/**
 * A call that asks for another protocol on its connection. Its deadline bounds the handshake; then
 * it lasts, in flight for every policy, until the connection closes.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Call } from '../../../core/call.ts'
import { type Answer, HttpCall, type HttpService } from '../call.ts'
import type { ReceivedHeaders } from '../headers.ts'
import type { PreparedRequest } from '../prepare-request.ts'
import type { HttpCallOptions } from '../request-options.ts'
import { UpgradeAttempt } from './attempt.ts'
import type { UpgradedSocket } from './socket.ts'

/** What the caller receives once the peer has agreed. `raw`: the headers as undici read them. */
export type Upgraded<R> = (status: number, headers: ReceivedHeaders, raw: unknown, socket: UpgradedSocket) => R

export class UpgradeCall<R = unknown> extends HttpCall<R> {
  readonly upgraded: Upgraded<R>
  /** Connections belong to no caller, but what is read from an upgraded one does. */
  readonly inContext = AsyncLocalStorage.snapshot()

  /**
   * `request`: its `upgrade` names the protocol. `answer`: takes every other answer than 101.
   * @throws OptionsError naming the option
   */
  constructor(
    service: HttpService,
    request: PreparedRequest,
    answer: Answer<R>,
    upgraded: Upgraded<R>,
    options: HttpCallOptions,
    signal: AbortSignal | undefined,
    parent: Call | undefined,
  ) {
    super(service, request, answer, { ...options, streaming: true }, signal, parent)
    this.upgraded = upgraded
    // A second execution joins a room twice, although the method is GET.
    this.idempotent = options.idempotent ?? false
  }

  /** A copy of the handshake would open a connection that no caller uses. */
  override get mirrors(): undefined {
    return undefined
  }

  protected override attempt(
    resolve: (answer: unknown) => void,
    reject: (error: unknown) => void,
    driven: boolean,
  ): UpgradeAttempt {
    return new UpgradeAttempt(this, resolve, reject, driven)
  }
}
