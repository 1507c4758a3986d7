/**
 * A service as a client that lives long knows it: by its name, so that it may be forgotten while
 * nobody calls it.
 */
import type { Destination } from '../client/destination.ts'
import type { StackSource } from '../client/stack-source.ts'
import type { Route } from '../core/call.ts'
import type { Stack } from '../resilience/stack.ts'

export class DestinationHandle implements StackSource {
  readonly service: string
  readonly transport: StackSource['transport']
  readonly #find: (service: string) => Destination
  #destination: Destination

  /** `find` is asked again after the destination was forgotten. */
  constructor(destination: Destination, find: (service: string) => Destination) {
    this.service = destination.service
    this.transport = destination.transport
    this.#destination = destination
    this.#find = find
  }

  stack(method: string, path: string): Stack {
    if (this.#destination.forgotten) this.#destination = this.#find(this.service)
    this.#destination.uses += 1
    const source: StackSource = this.#destination
    return source.stack(method, path)
  }

  route(method: string, streaming: boolean): Route {
    return this.#destination.route(method, streaming)
  }
}
