/**
 * Sends a request body that is read in parts. It reads on only while the peer has credit for more,
 * so a slow peer is no wait for our source.
 */
import type { StreamedBody } from './body/streamed.ts'
import type { RequestStream } from './request-stream.ts'
import { undici } from './undici.ts'

/** The exchange whose body is sent. */
export interface UploadOwner {
  bodySent(chunk: Uint8Array): void
  requestSent(): void
  /** The body contradicts its declared length, or its source has failed. */
  abort(error: Error): void
}

export class Upload {
  readonly #stream: RequestStream
  readonly #body: StreamedBody
  readonly #owner: UploadOwner
  /** Bytes that are still to be sent, by the declared length; negative: not declared. */
  readonly #declared: number
  #sent = 0
  #stopped = false
  #wake: (() => void) | undefined = undefined

  constructor(stream: RequestStream, body: StreamedBody, declared: number, owner: UploadOwner) {
    this.#stream = stream
    this.#body = body
    this.#declared = declared
    this.#owner = owner
  }

  start(): void {
    this.#run().catch((error: Error) => {
      if (!this.#stopped) this.#owner.abort(error)
    })
  }

  /** The peer takes more. */
  drained(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  /** The exchange is over. */
  stop(): void {
    this.#stopped = true
    this.drained()
  }

  async #run(): Promise<void> {
    for (;;) {
      const { done, value } = await this.#body.next()
      if (this.#stopped) return
      if (done === true) break
      const chunk = typeof value === 'string' ? Buffer.from(value) : value
      if (chunk.length === 0) continue
      this.#sent += chunk.length
      if (this.#declared >= 0 && this.#sent > this.#declared) throw mismatch()
      this.#owner.bodySent(chunk)
      if (!this.#stream.write(chunk)) await this.#drain()
      if (this.#stopped) return
    }
    if (this.#declared >= 0 && this.#sent < this.#declared) throw mismatch()
    this.#stream.end()
    this.#owner.requestSent()
  }

  #drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

function mismatch(): Error {
  return new (undici().errors.RequestContentLengthMismatchError)()
}
