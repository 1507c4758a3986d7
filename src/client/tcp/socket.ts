/**
 * What `mesh.connect` returns: a Duplex with the members of `net.Socket`, which connects behind.
 * What is written before waits.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { AddressInfo, Socket } from 'node:net'
import { addAbortSignal, Duplex } from 'node:stream'
import { TcpCall, type TcpService } from './call.ts'
import type { TcpConnection } from './connection.ts'
import type { ConnectSettings } from './options.ts'

type Done = (error?: Error | null) => void

/** A write or an end that waits for the connection. */
interface Waiting {
  readonly proceed: (connection: TcpConnection) => void
  readonly done: Done
}

export class MeshSocket extends Duplex {
  /** As of `setTimeout`; `undefined`: none was set. */
  timeout: number | undefined = undefined
  readonly autoSelectFamilyAttemptedAddresses: string[] = []
  readonly #call: TcpCall
  /** Connections are opened in no context; events belong to the caller's. */
  readonly #asCaller = AsyncLocalStorage.snapshot()
  #connection: TcpConnection | undefined = undefined
  #waiting: Waiting | undefined = undefined
  #timer: NodeJS.Timeout | undefined = undefined
  #hasRef = true
  #keepAlive: Parameters<Socket['setKeepAlive']> | undefined = undefined
  #noDelay: boolean | undefined = undefined
  #peerEnded = false
  #closed: (() => void) | undefined = undefined

  /** Connects at once; events follow in later turns. */
  constructor(service: TcpService, settings: ConnectSettings) {
    const { allowHalfOpen, signal } = settings
    super({ allowHalfOpen })
    this.#call = new TcpCall(service, settings, {
      hasEnded: () => this.writableEnded,
      connected: (connection) => this.#asCaller(() => this.#connected(connection)),
      failed: (error) => void this.destroy(error as Error),
    })
    if (signal !== undefined) addAbortSignal(signal, this)
    if (!this.destroyed) this.#call.connect()
  }

  get connecting(): boolean {
    return this.#connection === undefined && !this.destroyed
  }

  get pending(): boolean {
    return this.connecting
  }

  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.connecting) return 'opening'
    if (this.readable) return this.writable ? 'open' : 'readOnly'
    return this.writable ? 'writeOnly' : 'closed'
  }

  get bytesRead(): number {
    return this.#connection?.bytesRead ?? 0
  }

  get bytesWritten(): number {
    return (this.#connection?.bytesWritten ?? 0) + this.writableLength
  }

  get remoteAddress(): string | undefined {
    return this.#connection?.socket.remoteAddress
  }

  get remotePort(): number | undefined {
    return this.#connection?.socket.remotePort
  }

  get remoteFamily(): string | undefined {
    return this.#connection?.socket.remoteFamily
  }

  get localAddress(): string | undefined {
    return this.#connection?.socket.localAddress
  }

  get localPort(): number | undefined {
    return this.#connection?.socket.localPort
  }

  get localFamily(): string | undefined {
    return this.#connection?.socket.localFamily
  }

  address(): AddressInfo | object {
    return this.#connection?.socket.address() ?? {}
  }

  /** It connects already, to an endpoint of its service: host and port of the caller count not. */
  connect(...given: unknown[]): this {
    const listener = given.at(-1)
    if (typeof listener === 'function') this.once('connect', listener as () => void)
    return this
  }

  setNoDelay(on = true): this {
    this.#noDelay = on
    this.#connection?.socket.setNoDelay(on)
    return this
  }

  setKeepAlive(...given: Parameters<Socket['setKeepAlive']>): this {
    this.#keepAlive = given
    this.#connection?.socket.setKeepAlive(...given)
    return this
  }

  /** Also while it connects. */
  setTimeout(ms: number, listener?: () => void): this {
    this.timeout = ms
    if (listener !== undefined) {
      if (ms > 0) this.once('timeout', listener)
      else this.off('timeout', listener)
    }
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#connection !== undefined) this.#connection.socket.setTimeout(ms)
    else if (ms > 0) this.#timer = setTimeout(() => this.emit('timeout'), ms).unref()
    return this
  }

  ref(): this {
    this.#hasRef = true
    this.#connection?.socket.ref()
    return this
  }

  unref(): this {
    this.#hasRef = false
    this.#connection?.socket.unref()
    return this
  }

  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  resetAndDestroy(): this {
    return this.destroy()
  }

  #connected(connection: TcpConnection): void {
    if (this.destroyed) {
      connection.destroy()
      return
    }
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#connection = connection
    const { socket } = connection
    if (this.#noDelay !== undefined) socket.setNoDelay(this.#noDelay)
    if (this.#keepAlive !== undefined) socket.setKeepAlive(...this.#keepAlive)
    if (!this.#hasRef) socket.unref()
    socket.on('timeout', () => this.#asCaller(() => this.emit('timeout')))
    if (this.timeout !== undefined) socket.setTimeout(this.timeout)
    connection.attach({
      data: (chunk) => this.#asCaller(() => this.push(chunk)),
      ended: () => {
        this.#peerEnded = true
        this.#asCaller(() => this.push(null))
      },
      closed: (error) => this.#asCaller(() => this.#connectionClosed(error)),
    })
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.proceed(connection)
    // What a listener throws must not reach the call.
    process.nextTick(() => {
      if (this.destroyed) return
      this.emit('connect')
      this.emit('ready')
    })
  }

  /** What the peer has sent before is still to be read. */
  #connectionClosed(error: Error | undefined): void {
    const closed = this.#closed
    this.#closed = undefined
    if (closed !== undefined) closed()
    // The mesh was closed, or the connection is lost.
    else if (error !== undefined || !this.#peerEnded || !this.writableEnded) this.destroy(error)
  }

  override _read(): void {
    this.#connection?.socket.resume()
  }

  override _write(chunk: Buffer, _encoding: unknown, done: Done): void {
    this.#whenConnected(done, (connection, settle) => connection.write(chunk, settle))
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: Done): void {
    this.#whenConnected(done, (connection, settle) => {
      const { socket } = connection
      const last = chunks.length - 1
      socket.cork()
      for (let i = 0; i <= last; i++) connection.write(chunks[i]!.chunk, i === last ? settle : ignore)
      socket.uncork()
    })
  }

  override _final(done: Done): void {
    this.#whenConnected(done, ({ socket }, settle) => {
      socket.end(() => settle())
    })
  }

  override _destroy(error: Error | null, done: Done): void {
    clearTimeout(this.#timer)
    const connection = this.#connection
    const waiting = this.#waiting
    this.#waiting = undefined
    if (connection === undefined) {
      this.#call.cancel(error ?? new Error('the socket was destroyed'))
      waiting?.done(error ?? new Error('the socket was destroyed before it was connected'))
      done(error)
    } else if (connection.isClosed) done(error)
    else {
      this.#closed = () => done(error)
      connection.destroy()
    }
  }

  #whenConnected(done: Done, proceed: (connection: TcpConnection, done: Done) => void): void {
    const settle: Done = (error) => this.#asCaller(() => done(error))
    const go = (connection: TcpConnection): void => proceed(connection, settle)
    if (this.#connection === undefined) this.#waiting = { proceed: go, done }
    else go(this.#connection)
  }
}

function ignore(): void {}
