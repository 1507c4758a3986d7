/**
 * The connection of a library that writes its own HTTP/1.1, such as Node's `http`. It ends in this
 * process: each request that is written becomes a call of the mesh.
 */
import type { ClientRequest } from 'node:http'
import { Duplex } from 'node:stream'
import { mistake } from '../../call-options.ts'
import type { HttpService } from '../call.ts'
import type { UpgradedSocket } from '../upgrade/socket.ts'
import { WireExchange, type WireOwner } from './exchange.ts'
import type { WireCallSettings } from './options.ts'
import { RequestReader, type RequestSink, type WireHead } from './request-reader.ts'

/** Runs a function in the async context of the request that it belongs to. */
export type InContext = (step: () => void) => void

type Written = (error?: Error | null) => void

export class WireSocket extends Duplex implements WireOwner, RequestSink {
  readonly connecting = false
  readonly pending = false
  /** Of inactivity, in ms, as `net.Socket` has it. */
  timeout: number | undefined = undefined
  bytesRead = 0
  bytesWritten = 0
  /** Node's `http` sets it: the request that uses this connection now. */
  declare _httpMessage: (ClientRequest & { res?: { destroy(error?: Error): void } | null }) | null | undefined
  readonly #service: HttpService
  readonly #settings: WireCallSettings
  readonly #scheme: string
  readonly #begins: ((request: ClientRequest) => InContext | undefined) | undefined
  readonly #reader = new RequestReader(this)
  #exchange: WireExchange | undefined = undefined
  #started = false
  #upgraded: UpgradedSocket | undefined = undefined
  /** Bytes behind a request for another protocol. */
  #early: Buffer | undefined = undefined
  /** The library's write that waits for room. */
  #written: Written | undefined = undefined
  #timer: NodeJS.Timeout | undefined = undefined

  /**
   * `scheme`: of the URL that the caller wrote, such as `http:`. `begins`: hears of each request
   * of Node's `http`, and tells the async context of its call, if that is not where it is written.
   */
  constructor(
    service: HttpService,
    settings: WireCallSettings,
    scheme = 'http:',
    begins?: (request: ClientRequest) => InContext | undefined,
  ) {
    super({ decodeStrings: true })
    this.#service = service
    this.#settings = settings
    this.#scheme = scheme
    this.#begins = begins
  }

  /** The library has ended its request: what is missing of its declared length will not come. */
  requestEnded(): void {
    const { missing } = this.#reader
    if (missing === undefined || this.destroyed) return
    const message = `declares more than the body has: ${missing} bytes are missing`
    this.failed(mistake(['headers', 'content-length'], message))
  }

  // What the library does.

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Written): void {
    this.#take([chunk], done)
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: Written): void {
    this.#take(
      chunks.map(({ chunk }) => chunk),
      done,
    )
  }

  override _final(done: Written): void {
    if (this.#upgraded !== undefined) this.#upgraded.end()
    else if (this.#exchange !== undefined && !this.#reader.complete) {
      this.failed(mistake(['body'], 'ended before its length, or before its last chunk'))
    } else if (this.#exchange === undefined) this.push(null)
    done()
  }

  override _read(): void {
    if (this.#upgraded !== undefined) this.#upgraded.resume()
    else this.#exchange?.resume()
  }

  override _destroy(error: Error | null, done: Written): void {
    clearTimeout(this.#timer)
    this.#exchange?.abort()
    this.#exchange = undefined
    const upgraded = this.#upgraded
    // One that has ended by itself was not given up.
    if (upgraded !== undefined && !(upgraded.readableEnded && upgraded.writableEnded)) upgraded.destroy()
    const written = this.#written
    this.#written = undefined
    written?.(error)
    done(error)
  }

  // What the reader finds.

  onHead(head: WireHead): void {
    const exchange = new WireExchange(head, this)
    exchange.body.onDrained = () => this.#goOn()
    this.#exchange = exchange
    this.#started = false
  }

  onBody(chunk: Buffer): void {
    this.#exchange?.body.push(chunk)
  }

  onEnd(): void {
    const exchange = this.#exchange
    exchange?.body.end()
    // The answer came before the end of the request.
    if (exchange?.complete === true) this.#nextRequest()
  }

  // What the exchange reports.

  send(bytes: Buffer): boolean {
    if (this.destroyed) return true
    this.#active()
    this.bytesRead += bytes.length
    return this.push(bytes)
  }

  opened(upgraded: UpgradedSocket): void {
    this.#upgraded = upgraded
    this.#exchange = undefined
    if (this.destroyed) {
      upgraded.destroy()
      return
    }
    upgraded.on('data', (chunk: Buffer) => {
      if (!this.send(chunk)) upgraded.pause()
    })
    upgraded.on('end', () => this.push(null))
    upgraded.on('drain', () => this.#goOn())
    upgraded.on('close', () => {
      if (upgraded.readableEnded) return
      const { failure } = upgraded
      this.destroy(failure instanceof Error ? failure : undefined)
    })
    const early = this.#early
    this.#early = undefined
    if (early !== undefined && early.length > 0) upgraded.write(early)
    this.#goOn()
  }

  answered(keepAlive: boolean): void {
    if (!keepAlive) {
      this.#exchange = undefined
      this.push(null)
    } else if (this.#reader.complete) this.#nextRequest()
  }

  failed(error: Error): void {
    const response = this._httpMessage?.res
    // Its reader receives the reason, too, and no mere "aborted".
    if (response !== undefined && response !== null) response.destroy(error)
    this.destroy(error)
  }

  // What libraries ask of a connection.

  setTimeout(ms: number, listener?: () => void): this {
    this.timeout = ms
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (ms > 0 && !this.destroyed) {
      this.#timer = setTimeout(() => this.emit('timeout'), ms).unref()
      if (listener !== undefined) this.once('timeout', listener)
    } else if (listener !== undefined) this.removeListener('timeout', listener)
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  /** The call itself keeps the process alive. */
  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  /** Some libraries wait for `connect` unless it is `open`. */
  get readyState(): 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.readable && this.writable) return 'open'
    return this.readable ? 'readOnly' : this.writable ? 'writeOnly' : 'closed'
  }

  resetAndDestroy(): this {
    return this.destroy()
  }

  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  address(): object {
    return this.#upgraded?.address() ?? {}
  }

  get remoteAddress(): string | undefined {
    return this.#upgraded?.remoteAddress
  }

  get remotePort(): number | undefined {
    return this.#upgraded?.remotePort
  }

  #take(chunks: readonly Buffer[], done: Written): void {
    this.#active()
    try {
      for (const chunk of chunks) {
        this.bytesWritten += chunk.length
        if (this.#upgraded !== undefined) this.#upgraded.write(chunk)
        else if (this.#early !== undefined) this.#early = Buffer.concat([this.#early, chunk])
        else {
          const rest = this.#reader.read(chunk)
          if (this.#exchange?.upgrade !== undefined) this.#early = Buffer.from(rest)
        }
      }
      this.#start()
    } catch (error) {
      this.failed(error as Error)
    }
    if (this.#full) this.#written = done
    else done()
  }

  /** Once all that was written at once has been read: a short body is complete by then. */
  #start(): void {
    const exchange = this.#exchange
    if (exchange === undefined || this.#started) return
    this.#started = true
    const start = (): void => exchange.start(this.#service, this.#settings, this.#scheme, this.timeout ?? 0)
    const request = this._httpMessage
    const inContext = request ? this.#begins?.(request) : undefined
    if (inContext === undefined) start()
    else inContext(start)
  }

  #nextRequest(): void {
    this.#exchange = undefined
    this.#early = undefined
    this.#reader.next()
    // The library has closed its half.
    if (this.writableEnded) this.push(null)
  }

  get #full(): boolean {
    if (this.destroyed) return false
    if (this.#upgraded !== undefined) return this.#upgraded.writableNeedDrain
    if (this.#early !== undefined) return this.#early.length > MOST_EARLY_BYTES
    return this.#exchange?.body.full === true
  }

  #goOn(): void {
    if (this.#written === undefined || this.#full) return
    const written = this.#written
    this.#written = undefined
    written()
  }

  #active(): void {
    this.#timer?.refresh()
  }
}

/** Before the service has agreed to another protocol. */
const MOST_EARLY_BYTES = 65_536
