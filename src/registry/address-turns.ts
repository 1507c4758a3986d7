/**
 * Runs the writes at one address in turn, because each depends on the result of the previous one.
 */
import { addressKey } from '../core/endpoint.ts'
import type { Instance } from '../discovery/instance.ts'

export class AddressTurns {
  /** By service and address: the last write in flight. */
  readonly #last = new Map<string, Promise<unknown>>()

  run<T>(at: Instance, write: () => Promise<T>): Promise<T> {
    const key = `${at.service} ${addressKey(at)}`
    const before = this.#last.get(key)
    const result = before === undefined ? write() : before.then(write, write)
    this.#last.set(key, result)
    const end = (): void => {
      if (this.#last.get(key) === result) this.#last.delete(key)
    }
    result.then(end, end)
    return result
  }
}
