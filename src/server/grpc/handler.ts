/**
 * Contains the errors of a grpc-js handler. It and its listeners and callbacks run in the context
 * of their call, and what they throw ends that call once, with UNKNOWN.
 */
import type { EventEmitter } from 'node:events'
import type { Duplex, Writable } from 'node:stream'
import { guardEmitter, guardedCallback, runUserCode, type UserCodeOwner } from '../guarded-emitter.ts'
import { type Handler, interceptedCallOf, pendingStatusOf, type StatusSender } from './internals.ts'
import type { PartialStatusObject } from './status.ts'

/** The call that a guarded handler serves. */
export interface HandlerOwner extends UserCodeOwner {
  attachHandler(answering: StatusSender): void
  /** The handler has sent its last message or status. */
  handlerEnded(): void
  /** The handler's stream has closed with this status, so no answer can follow. */
  handlerClosed(pending: PartialStatusObject | undefined): void
}

type Write = (chunk: unknown, ...rest: unknown[]) => boolean

const guarded = new WeakSet<Handler>()

/** Guards `handler` in place, once. Calls without an owner, of another port, run unguarded. */
export function guardHandler(handler: Handler, ownerOf: (call: unknown) => HandlerOwner | undefined): void {
  if (guarded.has(handler)) return
  guarded.add(handler)
  const { type } = handler
  const instrumented = handler.func
  const uninstrumented = withoutSpan(instrumented)
  const streams = type === 'serverStream' || type === 'bidi'
  handler.func = function (this: unknown, ...given: unknown[]) {
    const [call, answer] = given as [EventEmitter, ((...given: unknown[]) => void) | undefined]
    const intercepted = interceptedCallOf(call)
    const owner = ownerOf(intercepted)
    if (owner === undefined) return instrumented.apply(this, given)
    const func = owner.observed === undefined ? instrumented : uninstrumented
    owner.attachHandler(intercepted)
    guardEmitter(call, owner)
    if (type !== 'unary') guardStream(call as Duplex, owner, streams)
    const work = (): unknown =>
      streams ? func.call(this, call) : func.call(this, call, once(owner, answer as (...given: unknown[]) => void))
    runUserCode(owner, work)
    return undefined
  }
}

/** By the marks that instrumentations leave on what they wrap. */
type Wrapped = Handler['func'] & { readonly __original?: Handler['func'] }

/**
 * The handler below instrumentation-grpc, which would make a second span of the request. Its
 * wrapper is called `func`, and finds the caller's trace only in the metadata.
 */
function withoutSpan(func: Wrapped): Handler['func'] {
  const { __original } = func
  return func.name === 'func' && typeof __original === 'function' ? withoutSpan(__original) : func
}

function guardStream(stream: Duplex, owner: HandlerOwner, answers: boolean): void {
  const write = stream.write as unknown as Write
  ;(stream as { write: unknown }).write = function (this: Writable, chunk: unknown, ...rest: unknown[]): boolean {
    const last = rest.length - 1
    if (typeof rest[last] === 'function') rest[last] = guardedCallback(owner, rest[last] as () => void)
    try {
      return write.call(this, chunk, ...rest)
    } catch (error) {
      // An interceptor threw. A handler that writes later has no caller to catch it.
      owner.userCodeFailed(error)
      return false
    }
  }
  // Leaving a loop over the requests destroys the stream by default, and with it the answers.
  if (typeof stream.iterator === 'function') {
    stream[Symbol.asyncIterator] = () => stream.iterator({ destroyOnReturn: false }) as never
  }
  // Runs before grpc-js's listener, which reads objects only.
  const { emit } = stream
  stream.emit = function (this: Duplex, name: string | symbol, ...given: unknown[]): boolean {
    if (name === 'error' && !isObject(given[0])) given[0] = new Error(String(given[0]))
    return emit.call(this, name as never, ...(given as []))
  }
  if (!answers) return
  const end = stream.end as (...given: unknown[]) => Duplex
  ;(stream as { end: unknown }).end = function (this: Duplex, ...given: unknown[]): Duplex {
    owner.handlerEnded()
    return end.apply(this, given)
  }
  stream.once('close', () => owner.handlerClosed(pendingStatusOf(stream)))
}

/** The first answer counts. An error that grpc-js cannot read is wrapped. */
function once(owner: HandlerOwner, answer: (...given: unknown[]) => void): (...given: unknown[]) => void {
  let answered = false
  return (error, ...rest) => {
    if (answered) return
    answered = true
    owner.handlerEnded()
    runUserCode(owner, () => answer(error && !isObject(error) ? new Error(String(error)) : error, ...rest))
  }
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null
}
