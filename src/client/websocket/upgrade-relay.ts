/**
 * One upgrade for a library that writes its own HTTP/1.1: its request becomes a call of the mesh,
 * and the answer is written as it would come from the service.
 *
 * - reading -> asked: the library's request has arrived
 * - asked -> open: the service has agreed, and the bytes of both flow
 * - asked -> answered: the service has refused, and its answer is written
 * - any -> over: the library's end has closed, or the call has failed
 */
import type { IncomingMessage } from 'node:http'
import { type Duplex, duplexPair } from 'node:stream'
import type { Dispatcher } from 'undici'
import { OF_CONNECTIONS } from '../../core/headers.ts'
import { mistake } from '../call-options.ts'
import type { HttpService } from '../http/call.ts'
import { DispatchCall, type DispatchCallHost } from '../http/dispatcher/call.ts'
import { prepareDispatch } from '../http/dispatcher/request.ts'
import type { UpgradedSocket } from '../http/upgrade/socket.ts'
import type { HandshakeSettings } from './options.ts'

const OWN: ReadonlySet<string> = new Set(OF_CONNECTIONS)

const HOST: DispatchCallHost = {
  ended() {},
  threw(error) {
    process.emitWarning(`the connection of a WebSocket failed: ${String(error)}`, 'InmeshWarning')
  },
}

export class UpgradeRelay implements Dispatcher.DispatchHandler {
  /** The library's end. */
  readonly theirs: Duplex
  readonly ours: Duplex
  readonly #service: HttpService
  readonly #settings: HandshakeSettings
  #controller: Dispatcher.DispatchController | undefined = undefined
  #timer: NodeJS.Timeout | undefined = undefined
  #socket: UpgradedSocket | undefined = undefined

  /** `timeoutMs`: until the answer; then the library hears `timeout`, as of a socket. 0: never. */
  constructor(service: HttpService, settings: HandshakeSettings, timeoutMs: number) {
    const [theirs, ours] = duplexPair()
    this.#service = service
    this.#settings = settings
    this.theirs = Object.assign(theirs, LIKE_A_SOCKET)
    this.ours = ours
    theirs.on('close', () => this.#left())
    ours.on('error', ignore)
    if (timeoutMs > 0) this.#timer = setTimeout(() => theirs.emit('timeout'), timeoutMs)
  }

  begin(request: IncomingMessage, early: Buffer): void {
    try {
      const { method, url, rawHeaders } = request
      const asked = { method, path: url, headers: endToEnd(rawHeaders), upgrade: request.headers.upgrade }
      const prepared = prepareDispatch(asked as unknown as Dispatcher.DispatchOptions)
      if (early.length > 0) this.ours.unshift(early)
      new DispatchCall(this.#service, { ...prepared, ...this.#settings }, this, HOST).start()
    } catch (error) {
      this.fail(error)
    }
  }

  /** It asked for no upgrade. */
  refuse(): void {
    const { service } = this.#service
    const hint = `for requests use mesh.http('${service}'), mesh.fetch or mesh.dispatcher()`
    this.fail(mistake([], `carries upgrades such as WebSockets only; ${hint}`, 'createConnection'))
  }

  fail(error: unknown): void {
    this.#stopTimer()
    this.theirs.destroy(error instanceof Error ? error : new Error(String(error)))
    this.ours.destroy()
  }

  // What the call reports.

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController, status: number, _headers: unknown, socket: Duplex): void {
    this.#stopTimer()
    const upgraded = socket as UpgradedSocket
    this.#socket = upgraded
    const { ours } = this
    ours.write(headOf(status, 'Switching Protocols', controller.rawHeaders, false))
    upgraded.pipe(ours)
    ours.pipe(upgraded)
    upgraded.on('close', () => {
      if (upgraded.readableEnded) return
      const { failure } = upgraded
      this.theirs.destroy(failure instanceof Error ? failure : undefined)
      ours.destroy()
    })
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _headers: unknown, statusText = ''): void {
    if (status < 200) return
    this.#stopTimer()
    this.ours.write(headOf(status, statusText, controller.rawHeaders, true))
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.ours.write(chunk)) return
    controller.pause()
    this.ours.once('drain', () => controller.resume())
  }

  onResponseEnd(): void {
    this.ours.end()
  }

  onResponseError(_controller: unknown, error: Error): void {
    this.fail(error)
  }

  /** The library has closed its end. */
  #left(): void {
    this.#stopTimer()
    if (this.#socket === undefined) this.#controller?.abort(LEFT)
    else if (!this.#socket.writableEnded || !this.#socket.readableEnded) this.#socket.destroy()
    this.ours.destroy()
  }

  #stopTimer(): void {
    clearTimeout(this.#timer)
  }
}

/** Libraries ask these of a connection; there is none to apply them to. */
const LIKE_A_SOCKET = {
  setTimeout(this: Duplex): Duplex {
    return this
  },
  setNoDelay(this: Duplex): Duplex {
    return this
  },
  setKeepAlive(this: Duplex): Duplex {
    return this
  },
  ref(this: Duplex): Duplex {
    return this
  },
  unref(this: Duplex): Duplex {
    return this
  },
}

function endToEnd(raw: readonly string[]): string[] {
  const kept: string[] = []
  for (let i = 0; i < raw.length; i += 2) if (!OWN.has(raw[i]!.toLowerCase())) kept.push(raw[i]!, raw[i + 1]!)
  return kept
}

/** `closes`: the end of the connection ends the body, whose coding has been removed. */
function headOf(status: number, statusText: string, raw: unknown, closes: boolean): Buffer {
  const parts: Uint8Array[] = [Buffer.from(`HTTP/1.1 ${status} ${statusText}\r\n`, 'latin1')]
  const headers = raw as Buffer[]
  for (let i = 0; i < headers.length; i += 2) {
    if (closes && OWN.has(headers[i]!.toString('latin1').toLowerCase())) continue
    parts.push(headers[i]!, COLON, headers[i + 1]!, LINE_END)
  }
  parts.push(closes ? CLOSE : LINE_END)
  return Buffer.concat(parts)
}

const LEFT = Object.freeze(new Error('the library has closed the connection'))
const COLON = Buffer.from(': ')
const LINE_END = Buffer.from('\r\n')
const CLOSE = Buffer.from('connection: close\r\n\r\n')

function ignore(): void {}
