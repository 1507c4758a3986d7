/**
 * The instances of the last list, by address; at a shared address, the last instance wins. An
 * instance that is the same object as before costs one comparison.
 */
import { addressKey } from '../core/endpoint.ts'
import type { Instance } from './instance.ts'

/** What another list changes. */
export interface ListChange {
  /** By address; may include instances that have not changed. */
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

  /** `undefined`: two instances share an address, so their order counts. */
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
 * Compares by identity and in order, because a delta removes, replaces in place and appends. For
 * any other list it may report more than has changed.
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
