/** The selections of one service or target: one for each kind of call, made when it first comes. */
import type { CallKind } from '../core/call.ts'
import type { Protocol } from '../core/protocol.ts'
import type { Stack } from '../resilience/stack.ts'
import type { Routed } from './routed.ts'
import type { Selection } from './selection.ts'

/** What the kinds of a service's calls have in common. */
export interface KindParts {
  readonly service: string
  readonly protocol: Protocol
  /** Methods that the protocol itself calls idempotent. */
  readonly idempotent: ReadonlySet<string>
}

/** Methods come from callers, so the kinds kept are bounded; beyond it each call makes one. */
const MOST_KINDS = 512

type ByMethod = Map<string, { stack: Stack; readonly kind: CallKind; readonly routed: Routed | undefined }>

export class Selections {
  /** `undefined`: the service as it is. */
  readonly routed: Routed | undefined
  readonly #parts: KindParts
  #stack: Stack
  readonly #plain: ByMethod = new Map()
  readonly #streaming: ByMethod = new Map()

  constructor(parts: KindParts, stack: Stack, routed: Routed | undefined) {
    this.#parts = parts
    this.#stack = stack
    this.routed = routed
  }

  get stack(): Stack {
    return this.#stack
  }

  /** Calls in flight keep the stack that they began with. */
  set stack(stack: Stack) {
    this.#stack = stack
    for (const selection of this.#plain.values()) selection.stack = stack
    for (const selection of this.#streaming.values()) selection.stack = stack
  }

  select(method: string, streaming: boolean): Selection {
    return (streaming ? this.#streaming : this.#plain).get(method) ?? this.#add(method, streaming)
  }

  #add(method: string, streaming: boolean): Selection {
    const { service, protocol, idempotent } = this.#parts
    const kind = Object.freeze({ service, method, protocol, streaming, idempotent: idempotent.has(method) })
    const selection = { stack: this.#stack, kind, routed: this.routed }
    const kept = streaming ? this.#streaming : this.#plain
    if (kept.size < MOST_KINDS) kept.set(method, selection)
    return selection
  }
}
