/** The attempts of the one call that a command makes, as its process tells them. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { grpcStatusName } from '../../core/status.ts'
import type { AttemptEnded, CallEnded } from '../../telemetry/call-channels.ts'
import { printable } from '../terminal.ts'
import { figure } from '../traffic/figures.ts'

export type SeenAttempt = Omit<AttemptEnded, 'service' | 'at' | 'peer' | 'protocol' | 'method' | 'trace'>

export class SeenAttempts {
  readonly attempts: SeenAttempt[] = []
  /** The call, when it has ended. */
  call: CallEnded | undefined
  readonly #service: string
  readonly #show: (line: string) => void

  /** `service`: our own. `show`: a line for each attempt and for the call, as they end. */
  constructor(service: string, show: (line: string) => void) {
    this.#service = service
    this.#show = show
    subscribe('inmesh:attempt:ended', this.#onAttempt)
    subscribe('inmesh:call:ended', this.#onCall)
  }

  /** What was seen so far belongs to no call that is shown. */
  begin(): void {
    this.attempts.length = 0
    this.call = undefined
  }

  close(): void {
    unsubscribe('inmesh:attempt:ended', this.#onAttempt)
    unsubscribe('inmesh:call:ended', this.#onCall)
  }

  readonly #onAttempt = (message: unknown): void => {
    const { service, at: _, peer: __, protocol: ___, method: ____, trace: _____, ...seen } = message as AttemptEnded
    if (service !== this.#service) return
    this.attempts.push(seen)
    this.#show(attemptLine(seen))
  }

  readonly #onCall = (message: unknown): void => {
    const call = message as CallEnded
    if (call.service !== this.#service || call.side !== 'client') return
    this.call = call
    this.#show(callLine(call))
  }
}

export function attemptLine(seen: SeenAttempt): string {
  const { attempt, endpoint, version, status, code, durationMs, connectMs, transport, hedge, retryInMs, reason } = seen
  const parts = [
    `attempt ${attempt}${hedge === true ? ' (hedge)' : ''}: ${endpoint ?? 'no endpoint'}`,
    ...(version === undefined ? [] : [`(${version})`]),
    [status, code].filter((one) => one !== undefined).join(' ') || seen.verdict,
    `in ${figure(durationMs)} ms`,
    ...(connectMs !== undefined && connectMs > 0 ? [`(${figure(connectMs)} ms to connect)`] : []),
    ...(transport === undefined ? [] : [`over ${transport}`]),
  ]
  const why = reason === undefined ? '' : `: ${reason}`
  const next = retryInMs === undefined ? '' : `; the next one in ${figure(retryInMs)} ms`
  return printable(`${parts.join(' ')}${why}${next}`)
}

function callLine({ protocol, method, peer, path, status, code, ms, attempts, route }: CallEnded): string {
  const known = status === undefined ? [] : [protocol === 'grpc' ? grpcStatusName(status) : status]
  const shown = [...known, ...(code === undefined ? [] : [code])].join(' ') || 'no answer'
  const by = route === undefined ? '' : `, route ${route}`
  const count = `${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}`
  return printable(
    `${path === undefined ? `${peer}${method}` : `${method} ${peer}${path}`}: ${shown} in ${figure(ms)} ms, ${count}${by}`,
  )
}
