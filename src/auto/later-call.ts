/** A gRPC call made before the mesh was joined. It is kept, and replayed on the real one. */

/** The members of grpc-js's call by which a client drives it. */
interface GrpcCall {
  start(metadata: object, listener: Listener): void
  sendMessageWithContext(context: object, message: Buffer): void
  startRead(): void
  halfClose(): void
  cancelWithStatus(status: number, details: string): void
  setCredentials(credentials: object): void
  getPeer(): string
  getCallNumber(): number
  getAuthContext(): object | null
}

interface Listener {
  onReceiveStatus(status: { code: number; details: string; metadata: object }): void
}

/** Of grpc-js. */
const UNAVAILABLE = 14

export class LaterCall implements GrpcCall {
  readonly #target: string
  readonly #kept: ((call: GrpcCall) => void)[] = []
  #call: GrpcCall | undefined
  #started: { readonly metadata: object; readonly listener: Listener } | undefined
  #failed: Error | undefined
  #over = false

  /** `opening` may reject: then the call ends as unavailable. */
  constructor(target: string, opening: Promise<GrpcCall>) {
    this.#target = target
    opening.then(
      (call) => {
        if (this.#over) return
        this.#call = call
        for (const step of this.#kept.splice(0)) step(call)
      },
      (error: Error) => {
        this.#failed = error
        this.#fail()
      },
    )
  }

  start(metadata: object, listener: Listener): void {
    this.#started = { metadata, listener }
    this.#step((call) => call.start(metadata, listener))
    if (this.#failed !== undefined) queueMicrotask(() => this.#fail())
  }

  sendMessageWithContext(context: object, message: Buffer): void {
    this.#step((call) => call.sendMessageWithContext(context, message))
  }

  startRead(): void {
    this.#step((call) => call.startRead())
  }

  halfClose(): void {
    this.#step((call) => call.halfClose())
  }

  setCredentials(credentials: object): void {
    this.#step((call) => call.setCredentials(credentials))
  }

  cancelWithStatus(code: number, details: string): void {
    if (this.#call === undefined && this.#started !== undefined) this.#end(code, details)
    else this.#step((call) => call.cancelWithStatus(code, details))
  }

  getPeer(): string {
    return this.#call?.getPeer() ?? this.#target
  }

  getCallNumber(): number {
    return this.#call?.getCallNumber() ?? -1
  }

  getAuthContext(): object | null {
    return this.#call?.getAuthContext() ?? null
  }

  #step(step: (call: GrpcCall) => void): void {
    if (this.#call !== undefined) step(this.#call)
    else if (!this.#over) this.#kept.push(step)
  }

  #fail(): void {
    this.#end(UNAVAILABLE, this.#failed!.message)
  }

  #end(code: number, details: string): void {
    if (this.#over || this.#started === undefined) return
    this.#over = true
    this.#kept.length = 0
    const { metadata, listener } = this.#started
    // Of the application's copy of grpc-js.
    const Metadata = metadata.constructor as new () => object
    listener.onReceiveStatus({ code, details, metadata: new Metadata() })
  }
}
