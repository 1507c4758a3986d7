/**
 * Waiters for a connectivity state change of a gRPC channel (`watchConnectivityState`,
 * `waitForReady`).
 */
import { AsyncResource } from 'node:async_hooks'
import type * as grpc from '@grpc/grpc-js'
import { type Clock, LONGEST_TIMER_MS, type Timer } from '../../core/clock.ts'
import { runUserCode } from './caller.ts'

type State = grpc.connectivityState
type Callback = (error?: Error) => void

export class StateWatchers {
  readonly #clock: Clock
  readonly #subscribe: (listener: () => void) => () => void
  readonly #state: () => State
  readonly #all = new Set<StateWatcher>()
  #unsubscribe: (() => void) | undefined

  /** `subscribe`: to what the state depends on; returns how to stop. */
  constructor(clock: Clock, subscribe: (listener: () => void) => () => void, state: () => State) {
    this.#clock = clock
    this.#subscribe = subscribe
    this.#state = state
  }

  /**
   * Calls back once and asynchronously: when the state differs from `current`, or after `ms` with
   * an error.
   */
  add(current: State, ms: number, callback: Callback): void {
    const watcher = new StateWatcher(current, this.#clock.now() + ms, callback)
    this.#all.add(watcher)
    this.#unsubscribe ??= this.#subscribe(() => this.#checkLater())
    if (ms !== Number.POSITIVE_INFINITY) this.#arm(watcher)
    if (this.#state() !== current) this.#checkLater()
  }

  /** A closing mesh removes its endpoints before it reports that it is closed. */
  #checkLater(): void {
    process.nextTick(() => this.check())
  }

  /** The state may have changed. */
  check(): void {
    const state = this.#state()
    for (const watcher of this.#all) if (watcher.current !== state) this.#end(watcher, undefined)
  }

  #arm(watcher: StateWatcher): void {
    const ms = Math.min(Math.max(watcher.until - this.#clock.now(), 0), LONGEST_TIMER_MS)
    watcher.timer = this.#clock.startTimer(ms, (due) => this.#timeUp(due), watcher)
  }

  #timeUp(watcher: StateWatcher): void {
    // A deadline may exceed Node's longest timer.
    if (watcher.until - this.#clock.now() > 1) this.#arm(watcher)
    else this.#end(watcher, new Error('Deadline passed without connectivity state change'))
  }

  #end(watcher: StateWatcher, error: Error | undefined): void {
    if (!this.#all.delete(watcher)) return
    if (watcher.timer !== undefined) this.#clock.stopTimer(watcher.timer)
    if (this.#all.size === 0) {
      this.#unsubscribe?.()
      this.#unsubscribe = undefined
    }
    runUserCode(watcher, callBack, watcher.callback, error)
  }
}

class StateWatcher extends AsyncResource {
  readonly current: State
  readonly until: number
  readonly callback: Callback
  timer: Timer | undefined = undefined

  constructor(current: State, until: number, callback: Callback) {
    super('inmesh.grpc.state')
    this.current = current
    this.until = until
    this.callback = callback
  }
}

function callBack(callback: Callback, error: Error | undefined): void {
  if (error === undefined) callback()
  else callback(error)
}
