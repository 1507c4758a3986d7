/**
 * A handler of grpc-js, guarded: it and all its listeners and callbacks run in the context of their
 * call, and what they throw or reject with ends that call with UNKNOWN, once.
 */
import type { EventEmitter } from 'node:events'
import type { Duplex, Writable } from 'node:stream'
import { guardEmitter, guardedCallback, runUserCode, type UserCodeOwner } from '../guarded-emitter.ts'
import type { PartialStatusObject } from './status.ts'

/** grpc-js's words for the four. */
export type CallKind = 'unary' | 'clientStream' | 'serverStream' | 'bidi'

/** What grpc-js keeps of a method. */
export interface Handler {
  func: (...given: unknown[]) => unknown
  readonly type: CallKind
}

/** What a guarded handler needs of the call that it serves. */
export interface HandlerOwner extends UserCodeOwner {
  /** The far end of grpc-js's interceptors, by which a handler answers. */
  attachHandler(answering: StatusSender): void
  /** The handler has said its last word, whether or not anybody hears it. */
  handlerEnded(): void
  /**
   * The handler's stream has closed, with the status that it was to end with: no answer can follow.
   */
  handlerClosed(pending: PartialStatusObject | undefined): void
}

/** How the handler of a call answers, through the interceptors of the application. */
export interface StatusSender {
  sendStatus(status: { code: number; details: string; metadata: null }): void
}

interface Served extends EventEmitter {
  readonly call: StatusSender & { readonly nextCall?: unknown }
}

interface Answered {
  readonly pendingStatus?: PartialStatusObject
}

type Write = (chunk: unknown, ...rest: unknown[]) => boolean

const guarded = new WeakSet<Handler>()

/**
 * Guards `handler` in place, once. Calls of which `ownerOf` knows nothing (another port of the
 * `Server`) stay as they are.
 */
export function guardHandler(handler: Handler, ownerOf: (call: unknown) => HandlerOwner | undefined): void {
  if (guarded.has(handler)) return
  guarded.add(handler)
  const { func, type } = handler
  const streams = type === 'serverStream' || type === 'bidi'
  handler.func = function (this: unknown, ...given: unknown[]) {
    const [call, answer] = given as [Served, ((...given: unknown[]) => void) | undefined]
    const owner = ownerOf(call.call)
    if (owner === undefined) return func.apply(this, given)
    owner.attachHandler(call.call)
    guardEmitter(call, owner)
    if (type !== 'unary') guardStream(call as unknown as Duplex, owner, streams)
    const work = (): unknown =>
      streams ? func.call(this, call) : func.call(this, call, once(owner, answer as (...given: unknown[]) => void))
    runUserCode(owner, work)
    return undefined
  }
}

function guardStream(stream: Duplex, owner: HandlerOwner, answers: boolean): void {
  const write = stream.write as unknown as Write
  ;(stream as { write: unknown }).write = function (this: Writable, chunk: unknown, ...rest: unknown[]): boolean {
    const last = rest.length - 1
    if (typeof rest[last] === 'function') rest[last] = guardedCallback(owner, rest[last] as () => void)
    try {
      return write.call(this, chunk, ...rest)
    } catch (error) {
      // An interceptor's; a handler that writes later has no one above it to catch it.
      owner.userCodeFailed(error)
      return false
    }
  }
  // A loop over the requests must not end the answers, which destroying the stream would do.
  if (typeof stream.iterator === 'function') {
    stream[Symbol.asyncIterator] = () => stream.iterator({ destroyOnReturn: false }) as never
  }
  // Before the listener of grpc-js, which can read objects only.
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
  stream.once('close', () => owner.handlerClosed((stream as Answered).pendingStatus))
}

/** The first answer counts. What is no error that grpc-js can read becomes one. */
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
