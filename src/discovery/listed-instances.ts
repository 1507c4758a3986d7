/**
 * The list that discovery gave last, by address. Instances at one address are one endpoint, that of
 * the last of them. A list that shares most objects with the one before costs a comparison each:
 * one change of 10,000 instances is no new list.
 */
import { addressKey } from '../core/endpoint.ts'
import type { Instance } from './instance.ts'

/** What another list changes. */
export interface ListChange {
  /** With their addresses; also some that are as they were. */
  readonly put: Iterable<readonly [string, Instance]>
  /** Addresses that are no longer listed. */
  readonly gone: readonly string[]
}

export class ListedInstances {
  #list: readonly Instance[] = []
  #byAddress = new Map<string, Instance>()

  addresses(): IterableIterator<string> {
    return this.#byAddress.keys()
  }

  /** Takes over a list whole. */
  take(list: readonly Instance[]): ListChange {
    const { added, removed } = compare(this.#list, list)
    const wasPlain = this.#byAddress.size === this.#list.length
    this.#list = list
    const change = wasPlain ? this.#update(added, removed) : undefined
    return change ?? this.#replace(list)
  }

  /** `undefined`: two share an address, so it counts which comes last. */
  #update(added: readonly Instance[], removed: readonly Instance[]): ListChange | undefined {
    const byAddress = this.#byAddress
    const left = new Set(removed.map(addressKey))
    const put = new Map(added.map((instance) => [addressKey(instance), instance]))
    if (put.size < added.length) return undefined
    for (const key of put.keys()) if (byAddress.has(key) && !left.has(key)) return undefined
    for (const key of left) byAddress.delete(key)
    for (const [key, instance] of put) byAddress.set(key, instance)
    return { put, gone: [...left].filter((key) => !put.has(key)) }
  }

  #replace(list: readonly Instance[]): ListChange {
    const before = this.#byAddress
    this.#byAddress = new Map(list.map((instance) => [addressKey(instance), instance]))
    return { put: this.#byAddress, gone: [...before.keys()].filter((key) => !this.#byAddress.has(key)) }
  }
}

/**
 * By identity and in order: a delta leaves out, replaces in place and appends. Of other lists it
 * may name more than has changed.
 */
function compare(
  before: readonly Instance[],
  after: readonly Instance[],
): { added: readonly Instance[]; removed: readonly Instance[] } {
  const added: Instance[] = []
  const removed: Instance[] = []
  let at = 0
  for (const instance of before) {
    const now = after[at]
    if (now === instance) at += 1
    else {
      removed.push(instance)
      if (now !== undefined && now.id === instance.id) {
        added.push(now)
        at += 1
      }
    }
  }
  for (; at < after.length; at++) added.push(after[at]!)
  return { added, removed }
}
