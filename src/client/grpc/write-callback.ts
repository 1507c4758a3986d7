/** The callback of one written message. It runs once, in the async context of the write. */
import { AsyncResource } from 'node:async_hooks'
import { runUserCode } from './caller.ts'
import type { MessageContext } from './grpc-js.ts'

type Callback = NonNullable<MessageContext['callback']>

export class GrpcWrite extends AsyncResource {
  #callback: Callback | undefined

  constructor(callback: Callback) {
    super('inmesh.grpc.message')
    this.#callback = callback
  }

  done(): void {
    const callback = this.#callback
    if (callback === undefined) return
    this.#callback = undefined
    runUserCode(this, callback, undefined, undefined)
  }
}
