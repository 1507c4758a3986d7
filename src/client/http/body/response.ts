/**
 * The body of a response: complete (the common case), or still arriving with back-pressure. A
 * broken connection ends it with an error, never early in silence.
 */

/** Who delivers a body that is still arriving. */
export interface AnswerSource {
  pauseBody(): void
  resumeBody(): void
  /** The reader wants no more. */
  cancelBody(reason: unknown): void
}

/** Unread bytes from which on the connection is not read any further. */
const HIGH_WATER_BYTES = 65_536
const NOTHING = Buffer.alloc(0)

const collected = new FinalizationRegistry<ResponseBody>((body) => body.dropped())

export class ResponseBody {
  /** Handed to a reader, which excludes all others. */
  used = false
  /** Somebody has begun to read. */
  touched = false
  /** What followed the body, once it is complete. */
  trailers: Readonly<Record<string, string | string[] | undefined>> | undefined = undefined
  #chunks: Buffer[] | undefined = undefined
  /** The only chunk, as long as there is only one. */
  #chunk: Buffer | undefined = undefined
  /** Bytes so far. */
  received = 0
  #bytes = 0
  #ended = false
  #error: unknown = undefined
  #failed = false
  #source: AnswerSource | undefined = undefined
  #paused = false
  /** Collecting everything: no back-pressure, the reader wants it all. */
  #wantsAll = false
  #wake: (() => void) | undefined = undefined
  /** Notified of the end, even without a reader. */
  #whenEnded: (() => void) | undefined = undefined
  /** The stream whose reader has taken all that came, and may wait for the end. */
  #waiting: ReadableByteStreamController | undefined = undefined
  /** What the caller holds to read from: an answer, a stream. */
  #holders = 0
  /** Times that the reader has taken something. */
  taken = 0

  /** The reader waits for the peer, or has taken all that has come. */
  get keepsUp(): boolean {
    return this.#bytes === 0 || this.#wantsAll || this.#wake !== undefined
  }

  /** When all holders are collected, no reader is left and the connection is released. */
  heldBy(holder: object): void {
    if (this.#source === undefined) return
    this.#holders += 1
    collected.register(holder, this)
  }

  /** @internal */
  dropped(): void {
    this.#holders -= 1
    const reading = this.#wantsAll || this.#wake !== undefined
    if (this.#holders === 0 && !this.#ended && !reading) this.abandon(new Error('nobody holds the answer any more'))
  }

  /** Bytes received and not yet read. */
  get buffered(): number {
    return this.#bytes
  }

  get complete(): boolean {
    return this.#ended && !this.#failed
  }

  // For the source.

  push(chunk: Buffer): void {
    this.#waiting = undefined
    this.#bytes += chunk.length
    this.received += chunk.length
    if (this.#chunks !== undefined) this.#chunks.push(chunk)
    else if (this.#chunk === undefined) this.#chunk = chunk
    else {
      this.#chunks = [this.#chunk, chunk]
      this.#chunk = undefined
    }
    if (this.#source !== undefined && !this.#wantsAll && !this.#paused && this.#bytes >= HIGH_WATER_BYTES) {
      this.#paused = true
      this.#source.pauseBody()
    }
    if (!this.#wantsAll) this.#wakeUp()
  }

  /** One that has nothing in it. */
  ended(): this {
    this.end()
    return this
  }

  end(): void {
    this.#ended = true
    this.#source = undefined
    this.#wakeUp()
    this.#whenEnded?.()
  }

  fail(error: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#failed = true
    this.#error = error
    this.#source = undefined
    this.#wakeUp()
    this.#whenEnded?.()
  }

  /** It is handed over before it is complete. */
  stream(source: AnswerSource): void {
    if (!this.#ended) this.#source = source
  }

  // For the reader.

  /** All of it. Not a copy: the bytes belong to the caller. */
  async bytes(): Promise<Buffer> {
    this.#use()
    this.touched = true
    if (!this.#ended) {
      this.#wantsAll = true
      this.#flow()
      while (!this.#ended) await this.#more()
    }
    if (this.#failed) throw this.#error
    return this.#takeAll()
  }

  async text(): Promise<string> {
    return this.#textNow() ?? decode(await this.bytes())
  }

  async json<T>(): Promise<T> {
    return JSON.parse(this.#textNow() ?? decode(await this.bytes()))
  }

  /** `undefined`: it has to be waited for, or fails. */
  #textNow(): string | undefined {
    if (!this.#ended || this.#failed || this.used) return undefined
    this.used = true
    this.touched = true
    return decode(this.#takeAll())
  }

  /** The next part; `undefined` at the end. */
  async read(): Promise<Buffer | undefined> {
    this.touched = true
    while (this.#bytes === 0 && !this.#ended) {
      this.#flow()
      await this.#more()
    }
    if (this.#bytes > 0) {
      const part = this.#takeAll()
      this.#flow()
      return part
    }
    if (this.#failed) throw this.#error
    return undefined
  }

  /**
   * A second, independent body over the same bytes; `undefined` unless all have arrived and none
   * was read.
   */
  fork(): ResponseBody | undefined {
    if (!this.complete || this.used) return undefined
    const copy = new ResponseBody()
    const all = this.#takeAll()
    if (all.length > 0) {
      this.push(all)
      copy.push(all)
    }
    copy.end()
    return copy
  }

  cancel(reason: unknown): void {
    this.used = true
    this.touched = true
    const source = this.#source
    this.#takeAll()
    this.#whenEnded = undefined
    this.#waiting = undefined
    this.end()
    source?.cancelBody(reason)
  }

  /** The reader has given up without a word; if it reads on after all, it finds out. */
  abandon(reason: Error): void {
    this.#source?.cancelBody(reason)
  }

  /** As a stream, made when somebody asks for it. */
  readable(): ReadableStream<Uint8Array> {
    this.#use()
    let pulling = false
    const stream: ReadableStream<Uint8Array> = new ReadableStream({
      type: 'bytes',
      start: (controller) => {
        // A stream with something unread that the program has dropped is to be collected.
        const held = new WeakRef(controller)
        this.#whenEnded = () => {
          const found = this.#waiting ?? held.deref()
          // A part that is on its way comes first.
          if (found !== undefined && (!pulling || this.#failed)) this.#finish(found)
        }
      },
      pull: async (controller) => {
        pulling = true
        const part = await this.read()
        pulling = false
        // A copy: the stream takes the whole memory away of which the part is a piece.
        if (part !== undefined) controller.enqueue(new Uint8Array(part))
        if (this.#ended) this.#finish(controller)
        // All that now holds one who waits for `closed`.
        else if (this.#bytes === 0) this.#waiting = controller
      },
      cancel: (reason) => this.cancel(reason),
    })
    this.heldBy(stream)
    return stream
  }

  /**
   * Ends the stream once all that came has been taken; a failure ends it at once, as in every
   * fetch.
   */
  #finish(controller: ReadableByteStreamController): void {
    if (this.#whenEnded === undefined || (this.#bytes > 0 && !this.#failed)) return
    this.#whenEnded = undefined
    this.#waiting = undefined
    if (this.#failed) controller.error(this.#error)
    else {
      controller.close()
      // A reader with its own buffer learns of the end through it.
      controller.byobRequest?.respond(0)
    }
  }

  #use(): void {
    if (this.used) throw new TypeError('the body has already been read')
    this.used = true
  }

  #takeAll(): Buffer {
    this.taken += 1
    const all = this.#chunk ?? (this.#chunks === undefined ? NOTHING : Buffer.concat(this.#chunks, this.#bytes))
    this.#chunk = undefined
    this.#chunks = undefined
    this.#bytes = 0
    return all
  }

  #flow(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#source?.resumeBody()
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #wakeUp(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}

/** UTF-8 without a byte order mark, as `fetch` decodes. */
function decode(bytes: Buffer): string {
  const marked = bytes.length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
  return marked ? bytes.toString('utf8', 3) : bytes.toString()
}
