/** A gRPC call made before the mesh takes calls. It is kept, and replayed on the real one. */

import { LONGEST_TIMER_MS } from '../core/clock.ts'

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
const DEADLINE_EXCEEDED = 4
const UNAVAILABLE = 14

export class LaterCall implements GrpcCall {
  readonly #target: string
  readonly #kept: ((call: GrpcCall) => void)[] = []
  #call: GrpcCall | undefined
  #started: { readonly metadata: object; readonly listener: Listener } | undefined
  #failed: Error | undefined
  #over = false
  #timer: NodeJS.Timeout | undefined

  /** `deadline`: of grpc-js. `opening` may reject: then the call ends as unavailable. */
  constructor(target: string, deadline: unknown, opening: Promise<GrpcCall>) {
    this.#target = target
    const leftMs = Number(deadline) - Date.now()
    const late = (): void => this.#end(DEADLINE_EXCEEDED, `the deadline passed before the mesh took calls to ${target}`)
    if (leftMs < LONGEST_TIMER_MS) this.#timer = setTimeout(late, Math.max(0, leftMs))
    opening.then(
      (call) => {
        clearTimeout(this.#timer)
        if (this.#over) return
        this.#call = call
        for (const step of this.#kept.splice(0)) step(call)
      },
      (error: Error) => {
        clearTimeout(this.#timer)
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
    clearTimeout(this.#timer)
    this.#kept.length = 0
    const { metadata, listener } = this.#started
    // Of the application's copy of grpc-js.
    const Metadata = metadata.constructor as new () => object
    listener.onReceiveStatus({ code, details, metadata: new Metadata() })
  }
}
