/**
 * Probes an HTTP endpoint on the connections and with the identity of calls; 2xx is healthy. Signs
 * of overload on either side leave the verdict open.
 */
import type { Dispatcher } from 'undici'
import type { Timer } from '../../core/clock.ts'
import { formatTimeoutHeader } from '../../core/deadline.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ErrorCode } from '../../core/errors.ts'
import { NOT_EXECUTED, TIMEOUT } from '../../core/headers.ts'
import { type Probe, type ProbeListener, TIMED_OUT } from '../health-checks.ts'
import type { Transport } from '../transport.ts'
import { CONNECTION_LOST, type ConnectionUser, type RequestConnection, type RequestPool } from './connection-user.ts'
import type { ReceivedHeaders } from './headers.ts'
import { outcomeOf } from './outcome.ts'

/** A longer answer is cut off here, which closes its connection. */
const MOST_BYTES = 65_536

const ABORTED = Object.freeze(new Error('the check is over'))

/** A probe that asks for `path`. */
export function httpHealth(transport: Transport<RequestPool>, path: string): Probe {
  return (endpoint, timeoutMs, done) => {
    const probe = new HttpProbe(transport, endpoint, path, timeoutMs, done)
    probe.start()
    return () => probe.cancel()
  }
}

class HttpProbe implements Dispatcher.DispatchHandler, ConnectionUser {
  waitingIn: RequestPool | undefined = undefined
  ahead: ConnectionUser | undefined = undefined
  behind: ConnectionUser | undefined = undefined
  readonly #transport: Transport<RequestPool>
  readonly #pool: RequestPool
  readonly #path: string
  readonly #timeoutMs: number
  readonly #done: ProbeListener
  #untilAt = 0
  #timer: Timer | undefined = undefined
  #connection: RequestConnection | undefined = undefined
  #controller: Dispatcher.DispatchController | undefined = undefined
  #status = 0
  #busy = false
  #bytes = 0
  #over = false

  constructor(
    transport: Transport<RequestPool>,
    endpoint: Endpoint,
    path: string,
    timeoutMs: number,
    done: ProbeListener,
  ) {
    this.#transport = transport
    this.#pool = transport.poolOf(endpoint)
    this.#path = path
    this.#timeoutMs = timeoutMs
    this.#done = done
  }

  start(): void {
    const { clock } = this.#transport
    this.#untilAt = clock.now() + this.#timeoutMs
    this.#timer = clock.startBackgroundTimer(this.#timeoutMs, timeUpSoon, this)
    this.#pool.take(this)
  }

  cancel(): void {
    if (this.#over) return
    this.#stop()
    this.#controller?.abort(ABORTED)
  }

  timeUp(): void {
    if (this.#over) return
    // It was still queued behind calls, so the endpoint was never asked.
    const unasked = this.waitingIn !== undefined && this.#pool.reachable
    this.#end(unasked ? undefined : false, unasked ? 'no connection was free' : TIMED_OUT)
    this.#controller?.abort(ABORTED)
  }

  // The pool's answers.

  assigned(connection: RequestConnection): void {
    this.#connection = connection
    const left = this.#untilAt - this.#transport.clock.now()
    connection.dispatch(
      {
        path: this.#path,
        method: 'GET',
        headers: ['host', this.#pool.endpoint.service, TIMEOUT, formatTimeoutHeader(left)],
        body: null,
        blocking: false,
      },
      this,
    )
  }

  refused(code: ErrorCode, _cause: unknown): void {
    const ours = code === 'queue-full' || code === 'closed'
    if (!this.#over) this.#end(ours ? undefined : false, code)
  }

  // undici's callbacks.

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#over) controller.abort(ABORTED)
    else this.#controller = controller
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: ReceivedHeaders): void {
    if (status < 200) return
    this.#status = status
    this.#busy = (status === 503 || status === 429) && headers[NOT_EXECUTED] !== undefined
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#bytes <= MOST_BYTES || this.#over) return
    this.#answered()
    controller.abort(ABORTED)
  }

  onResponseEnd(): void {
    this.#letGo()
    if (!this.#over) this.#answered()
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    const started = this.#controller !== undefined
    const connection = this.#letGo()
    if (this.#over) return
    // It closed before a byte was written: that says nothing. The next one is looked for, within
    // the same time.
    if (!started && (error === CONNECTION_LOST || connection?.usable !== true)) this.#pool.take(this)
    else this.#end(false, started ? outcomeOf(error).code! : 'connect-failed')
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController): void {
    controller.abort(ABORTED)
  }

  #answered(): void {
    const status = this.#status
    this.#end(this.#busy ? undefined : status >= 200 && status < 300, `status ${status}`)
  }

  #end(healthy: boolean | undefined, reason: string): void {
    this.#stop()
    this.#done(healthy, reason)
  }

  #stop(): void {
    this.#over = true
    if (this.#timer !== undefined) this.#transport.clock.stopTimer(this.#timer)
    this.#timer = undefined
    if (this.waitingIn !== undefined) this.waitingIn.leave(this)
  }

  #letGo(): RequestConnection | undefined {
    const connection = this.#connection
    this.#connection = undefined
    this.#controller = undefined
    if (connection !== undefined) this.#pool.release(connection)
    return connection
  }
}

/**
 * After a stall of our loop, the answer may already be in the socket. One turn of the loop lets it
 * win.
 */
function timeUpSoon(probe: HttpProbe): void {
  setImmediate(timeUp, probe)
}

function timeUp(probe: HttpProbe): void {
  probe.timeUp()
}
