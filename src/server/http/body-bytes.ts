/**
 * Counts the bytes of a request's body over HTTP/1.1. Node's parser hands them over by `push`; a
 * listener for data would let the body flow before the application reads it.
 */
import type { IncomingMessage } from 'node:http'

export class BodyBytes {
  received = 0

  /** `request`: before its body has begun to arrive. */
  constructor(request: IncomingMessage) {
    const { push } = request
    request.push = (chunk: Uint8Array | null, ...more) => {
      if (chunk !== null) this.received += chunk.length
      return push.call(request, chunk, ...more)
    }
  }
}
