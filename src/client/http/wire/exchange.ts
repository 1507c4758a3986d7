/**
 * One request of a library that writes its own HTTP/1.1: it becomes a call of the mesh, and the
 * answer is written as it would come from the service.
 *
 * - asked -> answering: the head of the answer is written
 * - asked -> open: the service has agreed to another protocol
 * - answering -> complete: the whole answer is written
 * - any but complete -> over: the library has left, or the call has failed
 */
import type { Duplex } from 'node:stream'
import type { Dispatcher } from 'undici'
import { KeptBody, MOST_KEPT_BYTES } from '../body/repeatable.ts'
import type { RequestBody } from '../body/request.ts'
import { StreamedBody } from '../body/streamed.ts'
import type { HttpService } from '../call.ts'
import { DispatchCall, type DispatchCallHost } from '../dispatcher/call.ts'
import { checkMethod, checkPath, prepareRequest } from '../prepare-request.ts'
import type { UpgradedSocket } from '../upgrade/socket.ts'
import type { WireCallSettings } from './options.ts'
import type { WireHead } from './request-reader.ts'
import { answerHead, chunkOf, type Framing, interimHead, lastChunk } from './response-head.ts'
import { WireBody } from './wire-body.ts'

/** The connection that carries it. */
export interface WireOwner {
  /** `false`: no more until `resume` is called. */
  send(bytes: Buffer): boolean
  opened(socket: UpgradedSocket): void
  answered(keepAlive: boolean): void
  failed(error: Error): void
}

const HOST: DispatchCallHost = {
  ended() {},
  threw(error) {
    process.emitWarning(`a connection of an HTTP library failed: ${String(error)}`, 'InmeshWarning')
  },
}

/** That there is no endpoint is said so long before the library's own timeout, which says less. */
const SAID_BEFORE_MS = 200
const CONTINUE = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n')
const LEFT = Object.freeze(new Error('the caller has closed the connection'))
const NONE: readonly Buffer[] = []

export class WireExchange implements Dispatcher.DispatchHandler {
  readonly body = new WireBody()
  readonly #head: WireHead
  readonly #owner: WireOwner
  #controller: Dispatcher.DispatchController | undefined = undefined
  #framing: Framing | undefined = undefined
  /** Bytes of the body that must still come; negative: unknown. */
  #left = -1
  #over = false
  #complete = false

  constructor(head: WireHead, owner: WireOwner) {
    this.#head = head
    this.#owner = owner
  }

  /**
   * `timeoutMs`: after so long without an answer the library gives up; 0: never.
   *
   * @throws OptionsError naming what is wrong with the request
   */
  start(service: HttpService, settings: WireCallSettings, scheme: string, timeoutMs: number): void {
    const { method, path, headers, upgrade } = this.#head
    const sent = headers.filter(([name]) => name.length !== 6 || name.toLowerCase() !== 'expect')
    const prepared = prepareRequest(checkMethod(method), checkPath(path), sent, this.#content())
    prepared.upgrade = upgrade
    const host = headers.find(([name]) => name.length === 4 && name.toLowerCase() === 'host')?.[1]
    prepared.origin = `${scheme}//${host || service.service}`
    const longestWaitMs = timeoutMs > 0 ? timeoutMs - Math.min(SAID_BEFORE_MS, timeoutMs / 10) : undefined
    const request = { ...settings, prepared, headersTimeoutMs: 0, bodyTimeoutMs: 0, longestWaitMs }
    new DispatchCall(service, request, this, HOST).start()
  }

  get upgrade(): string | undefined {
    return this.#head.upgrade
  }

  /** The whole answer is written. */
  get complete(): boolean {
    return this.#complete
  }

  /** The library has closed its end. */
  abort(): void {
    if (this.#over) return
    this.#over = true
    this.#controller?.abort(LEFT)
    this.body.discard()
  }

  resume(): void {
    if (this.#controller?.paused === true) this.#controller.resume()
  }

  #content(): RequestBody | undefined {
    const { length, expectsContinue } = this.#head
    if (length === 0) return undefined
    const { body } = this
    if (expectsContinue) {
      body.onWanted = () => {
        if (this.#framing === undefined && !this.#over) this.#owner.send(CONTINUE)
      }
      return { content: new StreamedBody(body), contentType: undefined }
    }
    const whole = body.bytes <= MOST_KEPT_BYTES ? body.whole : undefined
    return { content: whole ?? new KeptBody(body), contentType: undefined }
  }

  // What the call reports.

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController, status: number, _headers: unknown, socket: Duplex): void {
    this.#over = true
    this.#owner.send(interimHead(status, 'Switching Protocols', rawOf(controller.rawHeaders)))
    this.#owner.opened(socket as UpgradedSocket)
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _headers: unknown, statusText = ''): void {
    if (this.#over) return
    const raw = rawOf(controller.rawHeaders)
    if (status < 200) {
      if (status !== 100) this.#owner.send(interimHead(status, statusText, raw))
      return
    }
    const { method, minor, keepAlive } = this.#head
    const head = answerHead(status, statusText, raw, { toHead: method === 'HEAD', chunks: minor === 1, keepAlive })
    this.#framing = head.framing
    this.#left = head.framing === 'length' ? head.length : -1
    if (!this.#owner.send(head.bytes)) controller.pause()
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#over || this.#framing === 'none' || chunk.length === 0) return
    this.#left -= chunk.length
    if (!this.#owner.send(this.#framing === 'chunks' ? chunkOf(chunk) : chunk)) controller.pause()
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#over) return
    this.#over = true
    if (this.#framing === 'length' && this.#left !== 0) {
      this.#owner.failed(new Error(`the answer ended ${this.#left} bytes before its declared length`))
      return
    }
    if (this.#framing === 'chunks') this.#owner.send(lastChunk(rawOf(controller.rawTrailers)))
    this.#complete = true
    // What is still to come of the request concerns no call any more.
    this.body.discard()
    this.#owner.answered(this.#head.keepAlive && this.#framing !== 'close')
  }

  onResponseError(_controller: unknown, error: Error): void {
    if (this.#over) return
    this.#over = true
    this.#owner.failed(error instanceof Error ? error : new Error(String(error)))
  }
}

/** Dispatched calls give them as bytes. */
function rawOf(raw: unknown): readonly Buffer[] {
  return Array.isArray(raw) ? raw : NONE
}
