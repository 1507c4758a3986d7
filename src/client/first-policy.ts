/**
 * Holds the first calls to a service until discovery delivers its policy. No endpoint is known
 * before that, so proceeding on the defaults would gain nothing.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Call } from '../core/call.ts'
import type { Timer } from '../core/clock.ts'
import { type ErrorCode, MeshError } from '../core/errors.ts'
import type { Provisional, Stack } from '../resilience/stack.ts'
import { LONGEST_WAIT_MS } from './await-endpoint.ts'

/** Called with `true` once the policy is in force, `false` if the destination closes first. */
type Listener = (known: boolean) => void

export class FirstPolicy implements Provisional {
  readonly #stack: () => Stack
  readonly #isDeclared: (method: string) => boolean
  readonly #by: () => number
  readonly #waiting = new Set<Listener>()
  #over: boolean | undefined = undefined
  #why: unknown

  /**
   * `stack`: the stack in force. `isDeclared`: whether the policy in force declares a gRPC method
   * idempotent. `by`: when a registry should have answered, on the monotonic clock.
   */
  constructor(stack: () => Stack, isDeclared: (method: string) => boolean, by: () => number = () => 0) {
    this.#stack = stack
    this.#isDeclared = isDeclared
    this.#by = by
  }

  get stack(): Stack {
    return this.#stack()
  }

  isDeclared(method: string): boolean {
    return this.#isDeclared(method)
  }

  /** `known`: the first policy is in force; otherwise none will come, for the reason `why`. */
  end(known: boolean, why?: unknown): void {
    if (this.#over !== undefined) return
    this.#over = known
    this.#why = why
    for (const listener of [...this.#waiting]) listener(known)
  }

  /**
   * Calls `proceed` once: without a code when the policy is in force, else with the reason.
   */
  await(call: Call, since: number, proceed: (ended: ErrorCode | undefined, why?: unknown) => void): void {
    if (this.#over !== undefined) {
      if (this.#over) proceed(undefined)
      else proceed(this.#code, this.#why)
      return
    }
    const { clock } = this.stack
    const longest = Math.max(since + LONGEST_WAIT_MS, this.#by())
    const until = Math.min(longest, since + call.longestWaitMs, call.deadlineAt)
    // The view arrives in the session's async context; the rest runs in the caller's.
    const goOn = AsyncLocalStorage.bind(proceed)
    let timer: Timer | undefined
    const finish = (ended: ErrorCode | undefined, why?: unknown): void => {
      if (!this.#waiting.delete(listener)) return
      clock.stopTimer(timer!)
      call.whenCancelled = undefined
      goOn(ended, why)
    }
    const listener = (known: boolean): void => (known ? finish(undefined) : finish(this.#code, this.#why))
    const late = until === call.deadlineAt ? 'deadline-exceeded' : 'no-endpoints'
    this.#waiting.add(listener)
    timer = clock.startTimer(Math.max(0, until - since), finish, late)
    call.whenCancelled = () => finish('cancelled')
  }

  /** Of calls that wait in vain. A failure to join has a better one than `closed`. */
  get #code(): ErrorCode {
    return this.#why instanceof MeshError ? this.#why.code : 'closed'
  }
}
