/**
 * The connection of an accepted upgrade, as its user reads and writes it. It notices how a
 * WebSocket ends, and writes the control frames of the mesh between those of the user.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { FrameFollower, goingAwayFrame, pingFrame } from '../../../net/websocket-frames.ts'

/**
 * A peer that has sent nothing for this long is asked for a pong, and has the same time again to
 * answer. Proxies commonly close a connection that was silent for 60 s.
 */
const SILENCE_MS = 25_000
/** How long a peer may take to answer our close frame. */
const CLOSE_ANSWER_MS = 30_000
/** How long a peer may keep the connection after both close frames (RFC 6455, 7.1.1). */
const CLOSED_MS = 5_000

/** How the connection ended. `broken`: without an end that its protocol allows. */
export type UpgradeEnd = 'complete' | 'broken' | 'abandoned'

export interface UpgradeOwner {
  /** Reported once, when the connection has closed. */
  socketClosed(end: UpgradeEnd, cause: Error | undefined): void
}

export class UpgradedSocket extends Duplex {
  readonly #socket: Socket
  readonly #owner: UpgradeOwner
  /** Frames that we write and read; `undefined` for other protocols. */
  readonly #sent: FrameFollower | undefined
  readonly #received: FrameFollower | undefined
  readonly #inContext = AsyncLocalStorage.snapshot()
  /** Why the call failed after the upgrade. */
  failure: unknown = undefined
  sentBytes = 0
  receivedBytes = 0
  #goingAway = false
  #goneAway = false
  #abandoned = false
  #reported = false
  #cause: Error | undefined = undefined
  #reads = false
  #heardAt: number
  #pingedAt = 0
  /** When our close frame was seen; 0: there is none. */
  #closingAt = 0
  #overdue = false
  readonly #now: () => number

  constructor(socket: Socket, protocol: string, owner: UpgradeOwner, now: () => number) {
    super({ allowHalfOpen: false, decodeStrings: true })
    this.#socket = socket
    this.#owner = owner
    this.#now = now
    this.#heardAt = now()
    const followed = protocol.toLowerCase() === 'websocket'
    this.#sent = followed ? new FrameFollower() : undefined
    this.#received = followed ? new FrameFollower() : undefined
    // A user who listens for no errors must not lose the process to a reset.
    this.on('error', ignore)
    socket.pause()
    socket.on('data', (chunk: Buffer) => this.#arrived(chunk))
    socket.on('end', () => this.#inContext(() => this.push(null)))
    socket.on('error', (error) => {
      this.#cause ??= error
    })
    socket.on('close', () => this.#closed())
  }

  /** Asks the peer of a WebSocket to close it: a server that restarts is gone for a moment. */
  goAway(): void {
    this.#goingAway = true
    this.#closeIfDue()
  }

  /** Looks for a peer that has vanished, or does not close. Called about once a second. */
  sweep(now: number): void {
    if (this.#sent?.closing === true) this.#awaitClose(now)
    // Without reading, nothing can be heard.
    if (this.#sent === undefined || !this.#reads) return
    const asked = this.#pingedAt > this.#heardAt
    if (now - (asked ? this.#pingedAt : this.#heardAt) < SILENCE_MS) this.#overdue = false
    else if (!asked) this.#ping(now)
    // After a stall of our loop, the pong may still wait in the socket: one more turn tells.
    else if (!this.#overdue) this.#overdue = true
    else this.#socket.destroy(new Error(`the peer has sent nothing for ${Math.round((now - this.#heardAt) / 1_000)} s`))
  }

  /** The call is over: `error` is what its user receives, unless the end has arrived before. */
  fail(error: unknown): void {
    this.failure = error
    if (!this.#socket.destroyed) this.destroy(error instanceof Error ? error : undefined)
  }

  override _read(): void {
    if (!this.#reads) this.#heardAt = this.#now()
    this.#reads = true
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#sent?.follow(chunk)
    this.sentBytes += chunk.length
    this.#socket.write(chunk, done)
    this.#closeIfDue()
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    const socket = this.#socket
    socket.cork()
    const last = chunks.length - 1
    for (let i = 0; i <= last; i++) {
      const { chunk } = chunks[i]!
      this.#sent?.follow(chunk)
      this.sentBytes += chunk.length
      socket.write(chunk, i === last ? done : undefined)
    }
    socket.uncork()
    this.#closeIfDue()
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done())
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const socket = this.#socket
    if (!socket.destroyed && !(this.readableEnded && this.writableFinished)) this.#abandoned = true
    // Listeners of `close` find the call settled.
    if (this.#reported) done(error)
    else socket.once('close', () => this.#inContext(done, error))
    socket.destroy()
  }

  // What WebSocket libraries ask of a connection.

  setNoDelay(on?: boolean): this {
    this.#socket.setNoDelay(on)
    return this
  }

  setKeepAlive(on?: boolean, initialDelay?: number): this {
    this.#socket.setKeepAlive(on, initialDelay)
    return this
  }

  setTimeout(ms: number, listener?: () => void): this {
    if (listener !== undefined) this.once('timeout', listener)
    this.#socket.setTimeout(ms)
    if (ms > 0 && this.#socket.listenerCount('timeout') === 0) {
      this.#socket.on('timeout', () => this.#inContext(() => this.emit('timeout')))
    }
    return this
  }

  ref(): this {
    this.#socket.ref()
    return this
  }

  unref(): this {
    this.#socket.unref()
    return this
  }

  address(): object {
    return this.#socket.address()
  }

  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress
  }

  get remotePort(): number | undefined {
    return this.#socket.remotePort
  }

  #arrived(chunk: Buffer): void {
    this.#heardAt = this.#now()
    this.receivedBytes += chunk.length
    this.#received?.follow(chunk)
    this.#inContext(() => {
      if (this.push(chunk)) return
      this.#reads = false
      this.#socket.pause()
    })
  }

  /** Else a peer that answers pings could keep it for ever. */
  #awaitClose(now: number): void {
    if (this.#closingAt === 0) this.#closingAt = now
    const bound = this.#received!.closing ? CLOSED_MS : CLOSE_ANSWER_MS
    if (now - this.#closingAt >= bound) this.#socket.destroy()
  }

  #ping(now: number): void {
    if (this.#sent?.between !== true || !this.#socket.writable) return
    this.#pingedAt = now
    this.#socket.write(pingFrame(true))
  }

  #closeIfDue(): void {
    if (!this.#goingAway || this.#goneAway || this.#sent?.between !== true || !this.#socket.writable) return
    this.#goneAway = true
    this.#socket.write(goingAwayFrame(true))
  }

  #closed(): void {
    this.#reported = true
    this.#owner.socketClosed(this.#end(), this.#cause)
    // What arrived before the end may still be read.
    if (this.#socket.readableEnded) return
    const { failure } = this
    this.#inContext(() => this.destroy(failure instanceof Error ? failure : this.#cause))
  }

  #end(): UpgradeEnd {
    const agreed = this.#goneAway || this.#sent?.closing === true || this.#received?.closing === true
    if (agreed) return 'complete'
    if (this.#abandoned) return 'abandoned'
    return this.#cause !== undefined || this.#sent !== undefined ? 'broken' : 'complete'
  }
}

function ignore(): void {}
