/**
 * Holds the first calls to a service until discovery delivers its policy. No endpoint is known
 * before that, so proceeding on the defaults would gain nothing.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Call } from '../core/call.ts'
import type { Timer } from '../core/clock.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { Provisional, Stack } from '../resilience/stack.ts'
import { LONGEST_WAIT_MS } from './await-endpoint.ts'

/** Told `true` when the policy is in force, `false` if the destination is closed before. */
type Listener = (known: boolean) => void

export class FirstPolicy implements Provisional {
  readonly #stack: () => Stack
  readonly #isDeclared: (method: string) => boolean
  readonly #waiting = new Set<Listener>()
  #over: boolean | undefined = undefined

  /**
   * `stack`: the one in force; `isDeclared`: whether the policy in force calls a gRPC method
   * idempotent.
   */
  constructor(stack: () => Stack, isDeclared: (method: string) => boolean) {
    this.#stack = stack
    this.#isDeclared = isDeclared
  }

  get stack(): Stack {
    return this.#stack()
  }

  isDeclared(method: string): boolean {
    return this.#isDeclared(method)
  }

  /** `known`: the first view is here, and its policy in force; otherwise none will come. */
  end(known: boolean): void {
    if (this.#over !== undefined) return
    this.#over = known
    for (const listener of [...this.#waiting]) listener(known)
  }

  /**
   * Calls `proceed` once: without a code when the policy is in force, else with the reason why not.
   */
  await(call: Call, since: number, proceed: (ended: ErrorCode | undefined) => void): void {
    if (this.#over !== undefined) {
      proceed(this.#over ? undefined : 'closed')
      return
    }
    const { clock } = this.stack
    const until = Math.min(since + LONGEST_WAIT_MS, call.deadlineAt)
    // The view comes with the registry's session; what follows is this caller's.
    const goOn = AsyncLocalStorage.bind(proceed)
    let timer: Timer | undefined
    const finish = (ended: ErrorCode | undefined): void => {
      if (!this.#waiting.delete(listener)) return
      clock.stopTimer(timer!)
      call.whenCancelled = undefined
      goOn(ended)
    }
    const listener = (known: boolean): void => finish(known ? undefined : 'closed')
    const late = until === call.deadlineAt ? 'deadline-exceeded' : 'no-endpoints'
    this.#waiting.add(listener)
    timer = clock.startTimer(Math.max(0, until - since), finish, late)
    call.whenCancelled = () => finish('cancelled')
  }
}
