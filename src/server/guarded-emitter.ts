/**
 * An emitter that belongs to one request: its listeners run in the context of that request, and
 * what they throw or reject with fails that request instead of the process.
 */
import { captureRejectionSymbol, EventEmitter } from 'node:events'
import type { Call } from '../core/call.ts'
import { inboundCall, serving } from '../core/context.ts'

/** The request that an emitter belongs to. */
export interface UserCodeOwner extends Call {
  /** A listener or callback threw, or its promise rejected. */
  userCodeFailed(error: unknown): void
}

const OWNER = Symbol('inmesh.owner')

interface Guarded extends EventEmitter {
  [OWNER]?: UserCodeOwner | undefined
}

/** Node's own mark of emitters whose listeners may be async functions; only constructors set it. */
const CAPTURES = Object.getOwnPropertySymbols(new EventEmitter({ captureRejections: true })).find(
  (symbol) => symbol.description === 'kCapture',
)

/**
 * Makes `emitter` ready for an owner. Own properties, because frameworks replace the prototype;
 * early, because an object that gets properties late has another shape.
 */
export function prepareEmitter(emitter: EventEmitter): void {
  const guarded = emitter as Guarded & Record<symbol, unknown>
  guarded[OWNER] = undefined
  guarded.emit = emitGuarded
  guarded[captureRejectionSymbol] = rejected
  if (CAPTURES !== undefined) guarded[CAPTURES] = true
}

/** From now on the listeners of `emitter` run for `owner`. The emitter was prepared. */
export function bindEmitter(emitter: EventEmitter, owner: UserCodeOwner): void {
  ;(emitter as Guarded)[OWNER] = owner
}

/** Prepares and owns at once. */
export function guardEmitter(emitter: EventEmitter, owner: UserCodeOwner): void {
  prepareEmitter(emitter)
  bindEmitter(emitter, owner)
}

/** `callback` as part of serving `owner`; what it throws fails the request. */
export function guardedCallback<A extends unknown[]>(owner: UserCodeOwner, callback: (...given: A) => unknown) {
  return (...given: A): void => runUserCode(owner, () => callback(...given))
}

/** Runs user code in the context of `owner`. */
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

/**
 * Runs what tells only guarded emitters, which enter the context of `owner` by themselves if anyone
 * listens.
 */
export function catchUserErrors(owner: UserCodeOwner, work: () => void): void {
  try {
    work()
  } catch (error) {
    owner.userCodeFailed(error)
  }
}

type Emitted = [name: string | symbol, ...unknown[]]

/**
 * Each request has many events without a listener. No closure and no list in here may outlive it,
 * or it is on the heap.
 */
function emitGuarded(this: Guarded, ...given: Emitted): boolean {
  const owner = this[OWNER]
  // The prototype's, not our own property: whatever a framework put there is called.
  const { emit } = Object.getPrototypeOf(this) as EventEmitter
  if (owner === undefined) return emit.apply(this, given)
  if (given[0] !== 'error' && this.listenerCount(given[0]) === 0) {
    return emit === EventEmitter.prototype.emit ? false : emit.apply(this, given)
  }
  try {
    if (inboundCall() === owner || isNodesOnly(this, given[0])) return emit.apply(this, given)
    return emitServing(this, owner, emit, ...given)
  } catch (error) {
    owner.userCodeFailed(error)
    return true
  }
}

function emitServing(emitter: Guarded, owner: UserCodeOwner, emit: EventEmitter['emit'], ...given: Emitted): boolean {
  return serving(owner, () => emit.apply(emitter, given))
}

/**
 * To enter a context copies a map: not for the listener with which `node:http` itself waits for the
 * end of a request.
 */
function isNodesOnly(emitter: Guarded, name: string | symbol): boolean {
  return name === 'end' && emitter.listenerCount(name) === 1 && emitter.listeners(name)[0]!.name === 'clearIncoming'
}

function rejected(this: Guarded, error: unknown): void {
  this[OWNER]?.userCodeFailed(error)
}
