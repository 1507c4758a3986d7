/**
 * One request being served, from its head to the last byte of its answer: who calls, may it, is there time, is there room, then
 * the handler. The object is call, attempt and state of the response at once; everything that may happen to it ends in
 * {@link HttpExchange.finish}, exactly once.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Attempt } from '../core/attempt.ts'
import type { Route } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import { outsideCalls, servingFromHere } from '../core/context.ts'
import type { ErrorCode, MeshError } from '../core/errors.ts'
import { type Outcome, outcome } from '../core/outcome.ts'
import { httpOutcome } from '../core/status.ts'
import { endAttempt, endCall, startAttempt, startCall } from '../resilience/execution.ts'
import type { Faultable, FaultRule } from '../resilience/fault-injection.ts'
import type { Stack } from '../resilience/stack.ts'
import type { EventSink } from '../telemetry/events.ts'
import type { Authorizer } from './authorization.ts'
import type { Connection } from './connection.ts'
import type { DeadlineSweep, Watched } from './deadline-sweep.ts'
import { guard, own } from './guarded-emitter.ts'
import type { Application } from './http-handler.ts'
import { type ResponseWatcher, refuse, silence, watchResponse } from './http-response.ts'
import { readContext } from './inbound.ts'
import { InboundCall, type Within } from './inbound-call.ts'
import { inboundFault } from './inbound-fault.ts'
import { type Head, readHead } from './request-head.ts'
import type { Linked, Running } from './running.ts'

/** What a server lends to each of its exchanges. */
export interface ExchangeHost {
  readonly service: string
  readonly clock: Clock
  readonly application: Application
  readonly maxHeaders: number
  readonly events: EventSink
  /** Both may be replaced while serving. */
  authorizer: Authorizer
  stack: Stack
  /** From code; those of the document are in the stack. */
  readonly faults: readonly FaultRule[]
  readonly running: Running<HttpExchange>
  readonly deadlines: DeadlineSweep
  /** Runs a handler in the span of its call. */
  readonly within: Within | undefined
  handlerFailed(error: unknown, method: string, path?: string): void
  exchangeEnded(): void
}

/** The parser knows a few dozen methods, so this stays small. */
const routes = new Map<string, Map<string, Route>>()

function routeOf(service: string, method: string): Route {
  let ofService = routes.get(service)
  if (ofService === undefined) {
    ofService = new Map()
    routes.set(service, ofService)
  }
  let route = ofService.get(method)
  if (route === undefined) {
    route = Object.freeze({ service, method, protocol: 'http', streaming: false, idempotent: false })
    ofService.set(method, route)
  }
  return route
}

/** What a client waits for before it sends the body: `100-continue`, or something that only the application may know. */
export type Expectation = 'none' | 'checkContinue' | 'checkExpectation'

/** Serves one request. */
export function serveExchange(
  host: ExchangeHost,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
  expectation: Expectation,
): void {
  // Requests of one packet are read in one turn, whose context is that of the first by now.
  if (connection.inFlight > 0) outsideCalls(() => serve(host, connection, request, response, expectation))
  else serve(host, connection, request, response, expectation)
}

function serve(
  host: ExchangeHost,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
  expectation: Expectation,
): void {
  const head = readHead(host.maxHeaders, host.events, request, response)
  if (head === undefined) return
  const exchange = new HttpExchange(host, connection, request, response, head)
  if (!exchange.admit(head.path)) return
  exchange.run(expectation)
}

/** Judges a request to upgrade: a running exchange, or `undefined` after it has been answered. */
export function admitUpgrade(
  host: ExchangeHost,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
): HttpExchange | undefined {
  const head = readHead(host.maxHeaders, host.events, request, response)
  if (head === undefined) return undefined
  const exchange = new HttpExchange(host, connection, request, response, head)
  return exchange.admit(head.path) ? exchange : undefined
}

export class HttpExchange extends InboundCall implements ResponseWatcher, Watched, Faultable, Linked<HttpExchange> {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly connection: Connection
  readonly #host: ExchangeHost
  readonly #stack: Stack
  readonly #attempt: Attempt
  /** The caller said how much time there is; otherwise the deadline is our default and bounds only the wait for an answer. */
  readonly #deadlineIsCallers: boolean
  /** When to be told of the deadline; later than that only while a reader is watched. */
  dueAt: number
  listed = false
  ahead: HttpExchange | undefined = undefined
  behind: HttpExchange | undefined = undefined
  /** What we decided about it, if it does not end as the response says. */
  #verdict: Outcome | undefined
  #sentBytes = 0
  /** The handler has returned a promise. */
  #promised = false
  #expectation: Expectation = 'none'
  /** What had been written on the connection when the application took it over. */
  #upgradedAt = 0

  constructor(
    host: ExchangeHost,
    connection: Connection,
    request: IncomingMessage,
    response: ServerResponse,
    { timeoutMs, scan }: Head,
  ) {
    const { clock, stack } = host
    const now = clock.now()
    const route = routeOf(host.service, request.method ?? 'GET')
    super(route, clock, now, now + (timeoutMs ?? stack.timeoutMs), connection.caller)
    this.request = request
    this.response = response
    this.connection = connection
    this.#host = host
    this.#stack = stack
    this.#attempt = new Attempt(this)
    this.#deadlineIsCallers = timeoutMs !== undefined
    this.dueAt = this.deadlineAt
    readContext(this, request, scan)
  }

  /** For the response's head: is the connection to end? */
  now(): number {
    return this.clock.now()
  }

  /** Everything that is asked before the handler runs. `false`: the request has been answered. */
  admit(path: string): boolean {
    const host = this.#host
    startCall(this.#stack, this)
    if (this.startedAt >= this.connection.expiresAt) {
      this.#refuse(403, 'identity-rejected', 'The certificate of this connection has expired.', true)
      return false
    }
    const decision = host.authorizer.http(this.peer, this.route.method, path)
    if (!decision.allowed) {
      const peer = this.caller?.spiffeId ?? 'unknown'
      const { url = '' } = this.request
      host.events.emit('intention:denied', {
        peer,
        method: this.route.method,
        path: url.split('?', 1)[0]!,
        reason: decision.rule,
      })
      this.#refuse(403, 'permission-denied', `No intention allows this call to '${host.service}'.`, false)
      return false
    }
    const refusal = startAttempt(this.#stack, this.#attempt, this.startedAt)
    if (refusal === undefined) {
      this.connection.inFlight += 1
      host.running.add(this)
      return true
    }
    if (refusal === 'deadline-exceeded') {
      this.#refuse(504, refusal, 'The deadline of this call had passed before it could begin.', true)
      return false
    }
    host.events.emit('admission:refused', {
      side: 'server',
      code: refusal,
      ...(this.peer !== undefined && { peer: this.peer }),
    })
    const status = refusal === 'rate-limited' ? 429 : 503
    this.#refuse(status, refusal, `'${host.service}' takes no more requests right now (${refusal}).`, true)
    return false
  }

  /** Runs the handler, or the fault that was drawn for this request. */
  run(expectation: Expectation): void {
    watchResponse(this.response, this)
    own(this.request, this)
    this.#expectation = expectation
    this.#host.deadlines.watch(this, this.startedAt)
    const fault = inboundFault(this, this.#host, this.#stack.faults, 'status')
    if (fault === undefined) this.#handle()
    else if (fault.delayMs === 0) this.#suffer(fault)
    else this.clock.startBackgroundTimer(fault.delayMs, (exchange) => exchange.#suffer(fault), this)
  }

  /** For faults that match by header. */
  header(name: string): string | undefined {
    const value = this.request.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  #suffer({ status }: FaultRule): void {
    const { request, response } = this
    // In the meantime the caller may have gone, or the deadline passed.
    if (!this.listed || response.writableEnded) return
    if (status === undefined) this.#handle()
    else refuse(request, response, { status, code: 'server-error', message: 'A fault on purpose.' })
  }

  #handle(): void {
    const { request, response } = this
    const { within } = this.#host
    const { listener, kept } = this.#host.application
    this.#runUserCode(() => {
      const work = (): unknown => {
        if (this.#expectation === 'none') return listener(request, response)
        const asked = kept?.expecting(this.#expectation, request, response)
        if (asked !== undefined) return asked
        if (this.#expectation === 'checkContinue') {
          response.writeContinue()
          return listener(request, response)
        }
        refuse(request, response, { status: 417, code: 'protocol-error', message: 'Expect is not 100-continue.' })
        return undefined
      }
      return within === undefined ? servingFromHere(this, work) : within(this, () => servingFromHere(this, work))
    })
  }

  #runUserCode(work: () => unknown): void {
    try {
      const returned = work()
      if (typeof (returned as PromiseLike<unknown> | undefined)?.then === 'function') {
        this.#promised = true
        ;(returned as PromiseLike<unknown>).then(
          () => {
            this.handled = true
          },
          (error: unknown) => this.userCodeFailed(error),
        )
      }
    } catch (error) {
      this.userCodeFailed(error)
    }
  }

  /** A handler without a promise has ended when it has ended the response. */
  override get over(): boolean {
    return super.over || (this.settled && !this.#promised && this.#verdict === undefined && this.response.writableEnded)
  }

  /** Once the answer has begun, only the caller's own deadline holds. */
  override get bindsUntil(): number {
    return this.#deadlineIsCallers || !this.response.headersSent ? super.bindsUntil : Number.POSITIVE_INFINITY
  }

  /** Runs an upgrade: no deadline, and it lasts as long as its connection. */
  runUpgrade(work: () => unknown): void {
    const { socket } = this.connection
    this.deadlineAt = Number.POSITIVE_INFINITY
    this.dueAt = Number.POSITIVE_INFINITY
    socket.once('close', () => this.finish())
    this.#attempt.status = 101
    this.#upgradedAt = socket.bytesWritten
    own(this.request, this)
    guard(socket, this)
    this.#runUserCode(() => servingFromHere(this, work))
  }

  /** The response is over, well or not. */
  finish(): void {
    if (!this.#host.running.delete(this)) return
    this.connection.inFlight -= 1
    const { response } = this
    if (this.connection.last === response) this.connection.last = undefined
    const upgraded = this.#attempt.status === 101
    let ended = this.#verdict
    if (ended === undefined && (response.writableFinished || upgraded)) {
      ended = httpOutcome(upgraded ? 101 : response.statusCode, false, undefined)
    }
    if (ended === undefined) {
      const cause = this.callerGone()
      this.cancel(cause)
      ended = outcome('cancelled', 'cancelled', cause)
    } else if (response.headersSent) this.#attempt.status = response.statusCode
    endAttempt(this.#stack, this.#attempt, ended)
    this.#host.exchangeEnded()
  }

  /** The server has no more time for it. */
  abandon(): void {
    const cause = this.drainOver()
    this.#giveUp(503, 'closed', 'The server is going away.', outcome('failure', 'closed', cause), cause)
  }

  /** The deadline has passed. */
  expire(): void {
    this.dueAt = Number.POSITIVE_INFINITY
    const { response } = this
    if (response.headersSent && !this.#deadlineIsCallers) {
      this.#watchReader()
      return
    }
    const cause = this.deadlinePassed()
    this.#giveUp(504, 'deadline-exceeded', cause.message, outcome('failure', 'deadline-exceeded', cause), cause)
  }

  /** A long answer may take its time, but a reader that takes nothing for so long is gone or an attacker. */
  #watchReader(): void {
    const { socket } = this.connection
    const sent = socket.bytesWritten
    const pending = socket.writableLength > 0 || this.response.writableNeedDrain
    if (pending && sent - this.#sentBytes < SLOWEST_READER_BYTES && this.#sentBytes > 0) {
      this.response.destroy()
      return
    }
    this.#sentBytes = sent
    const now = this.clock.now()
    this.dueAt = now + READER_CHECK_MS
    this.#host.deadlines.watch(this, now)
  }

  #giveUp(status: number, code: ErrorCode, message: string, verdict: Outcome, cause: MeshError): void {
    const { request, response } = this
    if (response.writableEnded || this.#verdict !== undefined) {
      // All is said, but the caller does not take it.
      this.connection.socket.destroy()
      return
    }
    this.#verdict = verdict
    if (response.headersSent || this.#attempt.status === 101) {
      this.cancel(cause)
      this.connection.socket.destroy()
      return
    }
    // A sender that has not finished by now may never do so.
    refuse(request, response, { status, code, message, close: !request.complete || code === 'closed' })
    silence(response)
    this.cancel(cause)
  }

  userCodeFailed(error: unknown): void {
    this.handled = true
    const { request, response } = this
    const { socket } = this.connection
    // A handler that throws because it was asked to stop does what it should.
    if (this.cancelled) return
    const path = (request.url ?? '').split('?', 1)[0]!
    this.#host.handlerFailed(error, this.route.method, path)
    if (this.#verdict !== undefined || response.writableEnded || !this.listed) return
    if (response.headersSent || this.#attempt.status === 101) {
      this.#verdict = outcome('failure', 'server-error', error)
      if (response.headersSent || socket.bytesWritten > this.#upgradedAt) socket.destroy()
      else {
        socket.write(UPGRADE_FAILED)
        socket.destroySoon()
      }
      return
    }
    this.#verdict = outcome('failure', 'server-error', error, 500)
    refuse(request, response, { status: 500, code: 'server-error', message: 'The handler failed.' })
    silence(response)
  }

  #refuse(status: number, code: ErrorCode, message: string, notExecuted: boolean): void {
    const { request, response } = this
    const retryAfter = status === 503 || status === 429
    const close = this.connection.retireAt <= this.startedAt
    refuse(request, response, { status, code, message, notExecuted, retryAfter, close })
    this.#attempt.status = status
    endCall(this.#stack, this, outcome(notExecuted ? 'refused' : 'failure', code, undefined, status))
  }
}

const UPGRADE_FAILED = 'HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

/** A reader that has taken less than this since the last look, while there was more for it, is cut off. */
const SLOWEST_READER_BYTES = 1_024
const READER_CHECK_MS = 10_000
