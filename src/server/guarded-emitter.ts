/**
 * Emitters of one request: their listeners run in its context. What a listener throws fails the
 * request instead of the process.
 */
import { captureRejectionSymbol, EventEmitter } from 'node:events'
import type { Call } from '../core/call.ts'
import { inboundCall, serving } from '../core/context.ts'

/** A served request that runs user code. */
export interface UserCodeOwner extends Call {
  /** A listener or callback threw, or its promise rejected. */
  userCodeFailed(error: unknown): void
}

const OWNER = Symbol('inmesh.owner')

interface Guarded extends EventEmitter {
  [OWNER]?: UserCodeOwner | undefined
}

/** Node marks emitters that capture rejections with this symbol. Only constructors set it. */
const CAPTURES = Object.getOwnPropertySymbols(new EventEmitter({ captureRejections: true })).find(
  (symbol) => symbol.description === 'kCapture',
)

/**
 * Prepares `emitter` for an owner. These are own properties, because frameworks replace the
 * prototype, and early ones, because late properties change the object's shape.
 */
export function prepareEmitter(emitter: EventEmitter): void {
  const guarded = emitter as Guarded & Record<symbol, unknown>
  guarded[OWNER] = undefined
  guarded.emit = emitGuarded
  guarded[captureRejectionSymbol] = rejected
  if (CAPTURES !== undefined) guarded[CAPTURES] = true
}

/** From now on, the listeners of a prepared emitter run for `owner`. */
export function bindEmitter(emitter: EventEmitter, owner: UserCodeOwner): void {
  ;(emitter as Guarded)[OWNER] = owner
}

/** Prepares and binds in one step. */
export function guardEmitter(emitter: EventEmitter, owner: UserCodeOwner): void {
  prepareEmitter(emitter)
  bindEmitter(emitter, owner)
}

/** Wraps `callback` to run in the context of `owner`. An error fails the request. */
export function guardedCallback<A extends unknown[]>(owner: UserCodeOwner, callback: (...given: A) => unknown) {
  return (...given: A): void => runUserCode(owner, () => callback(...given))
}

/** Runs user code in the context of `owner`. An error fails the request. */
export function runUserCode(owner: UserCodeOwner, work: () => unknown): void {
  try {
    const returned = inboundCall() === owner ? work() : serving(owner, work)
    if (typeof (returned as PromiseLike<unknown> | undefined)?.then === 'function') {
      ;(returned as PromiseLike<unknown>).then(undefined, (error: unknown) => owner.userCodeFailed(error))
    }
  } catch (error) {
    owner.userCodeFailed(error)
  }
}

/** Runs `work`, which only emits on guarded emitters: they enter the context if they need it. */
export function catchUserErrors(owner: UserCodeOwner, work: () => void): void {
  try {
    work()
  } catch (error) {
    owner.userCodeFailed(error)
  }
}

type Emitted = [name: string | symbol, ...unknown[]]

/** Most events of a request have no listener, so that path allocates nothing that escapes. */
function emitGuarded(this: Guarded, ...given: Emitted): boolean {
  const owner = this[OWNER]
  // The prototype's method, which a framework may have replaced.
  const { emit } = Object.getPrototypeOf(this) as EventEmitter
  if (owner === undefined) return emit.apply(this, given)
  if (given[0] !== 'error' && this.listenerCount(given[0]) === 0) {
    return emit === EventEmitter.prototype.emit ? false : emit.apply(this, given)
  }
  try {
    if (inboundCall() === owner || hasOnlyNodeListener(this, given[0])) return emit.apply(this, given)
    return emitServing(this, owner, emit, ...given)
  } catch (error) {
    owner.userCodeFailed(error)
    return true
  }
}

function emitServing(emitter: Guarded, owner: UserCodeOwner, emit: EventEmitter['emit'], ...given: Emitted): boolean {
  return serving(owner, () => emit.apply(emitter, given))
}

/** Entering a context is expensive. The listener by which `node:http` ends a request needs none. */
function hasOnlyNodeListener(emitter: Guarded, name: string | symbol): boolean {
  return name === 'end' && emitter.listenerCount(name) === 1 && emitter.listeners(name)[0]!.name === 'clearIncoming'
}

function rejected(this: Guarded, error: unknown): void {
  this[OWNER]?.userCodeFailed(error)
}
