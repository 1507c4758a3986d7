/**
 * From headers and socket to a call. Everything that only neighbours in the mesh may say
 * (`inmesh-*`) and every header that claims an identity is taken out before user code can see it;
 * who the caller is comes from its certificate only.
 */
import { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { parseBaggage } from '../../core/baggage.ts'
import { claimsIdentity, PREFIX, PREVIOUS_ATTEMPTS, TIMEOUT } from '../../core/headers.ts'
import { parseTraceparent } from '../../core/trace-context.ts'
import { connectionOf } from '../connection.ts'
import { prepareEmitter } from '../guarded-emitter.ts'
import type { InboundCall } from '../inbound-call.ts'
import { wantsUpgrade } from './upgrade-head.ts'

/** What was found in the headers of one request. */
export interface HeaderScan {
  /** All of them, ours included. */
  count: number
  hosts: number
  host: string | undefined
  /** Lines that are repeated are joined as Node does. */
  transferEncoding: string | undefined
  contentLength: boolean
  timeout: string | undefined
  previousAttempts: string | undefined
  /**
   * Lower-case names of what was taken out; collected only for whoever has to mend something by
   * them.
   */
  readonly dropped: string[] | undefined
}

type AddHeaderLines = (headers: string[] | undefined, count: number) => void

/**
 * Takes our headers out while the parser hands them over, when nothing has been built from them
 * yet: later, three views of them would have to be mended (`headers`, `rawHeaders`,
 * `headersDistinct`). Node calls the method, but does not document it: without the call,
 * {@link scanHeaders} mends.
 */
export class InboundMessage extends IncomingMessage {
  #scan: HeaderScan | undefined

  constructor(socket: Socket) {
    super(socket)
    prepareEmitter(this)
  }

  // Private fields stay with an object whose prototype a framework replaces (Express does), so this
  // is no method.
  static scanOf(request: IncomingMessage): HeaderScan | undefined {
    return #scan in request ? request.#scan : undefined
  }

  _addHeaderLines(headers: string[] | undefined, count: number): void {
    const inherited = (IncomingMessage.prototype as unknown as { _addHeaderLines: AddHeaderLines })._addHeaderLines
    if (headers === undefined) return
    // node:http asks next, and takes an upgrade that is none of the application's for an ordinary
    // request.
    const message = this as { upgrade?: boolean }
    if (message.upgrade === true && !this.#isUpgrade(headers)) message.upgrade = false
    const scan = emptyScan(undefined)
    takeOut(headers, scan)
    // The second time it is trailers.
    this.#scan ??= scan
    inherited.call(this, headers, Math.min(count, headers.length))
  }

  #isUpgrade(headers: readonly string[]): boolean {
    const upgrades = connectionOf(this.socket)?.upgrades
    return wantsUpgrade(this.httpVersionMinor, headers, upgrades === undefined || upgrades())
  }
}

function emptyScan(dropped: string[] | undefined): HeaderScan {
  return {
    count: 0,
    hosts: 0,
    host: undefined,
    transferEncoding: undefined,
    contentLength: false,
    timeout: undefined,
    previousAttempts: undefined,
    dropped,
  }
}

/**
 * What the headers of `request` say; our own and forged ones are gone afterwards. Once per request,
 * before anybody else.
 */
export function scanHeaders(request: IncomingMessage): HeaderScan {
  const done = InboundMessage.scanOf(request)
  if (done !== undefined) return done
  const dropped: string[] = []
  const scan = emptyScan(dropped)
  const { headers, headersDistinct } = request
  const kept = [...request.rawHeaders]
  takeOut(kept, scan)
  if (dropped.length > 0) {
    request.rawHeaders = kept
    for (const name of dropped) {
      delete headers[name]
      delete headersDistinct[name]
    }
  }
  return scan
}

/** Closes the gaps in place: one pass, and nothing is allocated unless something is dropped. */
function takeOut(headers: string[], scan: HeaderScan): void {
  scan.count += headers.length >> 1
  let kept = 0
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i]!
    const value = headers[i + 1]!
    if (isOurs(name, value, scan)) continue
    if (kept !== i) {
      headers[kept] = name
      headers[kept + 1] = value
    }
    kept += 2
  }
  if (kept < headers.length) headers.length = kept
}

function isOurs(name: string, value: string, scan: HeaderScan): boolean {
  const first = name.charCodeAt(0) | 0x20
  // The first letters of our prefix, of what claims an identity, and of what two readers could read
  // differently.
  if (
    first !== 0x68 &&
    first !== 0x69 &&
    first !== 0x78 &&
    first !== 0x63 &&
    first !== 0x73 &&
    first !== 0x6c &&
    first !== 0x70 &&
    first !== 0x74 &&
    first !== 0x77
  )
    return false
  if (first === 0x68 || first === 0x74) {
    if (first === 0x68 ? name.length !== 4 : name.length !== TRANSFER_ENCODING.length) return false
    readForm(name.toLowerCase(), value, scan)
    return false
  }
  const lower = name.toLowerCase()
  if (lower === 'content-length') {
    scan.contentLength = true
    return false
  }
  if (!lower.startsWith(PREFIX) && !claimsIdentity(lower)) return false
  // A repeated header is joined as Node does, which no number survives.
  if (lower === TIMEOUT) scan.timeout = scan.timeout === undefined ? value : `${scan.timeout}, ${value}`
  else if (lower === PREVIOUS_ATTEMPTS) scan.previousAttempts ??= value
  scan.dropped?.push(lower)
  return true
}

const TRANSFER_ENCODING = 'transfer-encoding'

/** What says where a request ends, and whom it is for. */
function readForm(lower: string, value: string, scan: HeaderScan): void {
  if (lower === 'host') {
    scan.hosts += 1
    scan.host = value
  } else if (lower === TRANSFER_ENCODING) {
    scan.transferEncoding = scan.transferEncoding === undefined ? value : `${scan.transferEncoding}, ${value}`
  }
}

/**
 * Trace, baggage and what the caller says of itself. None of it can make a request fail: what is
 * malformed is as if absent.
 */
export function readContext(call: InboundCall, request: IncomingMessage, scan: HeaderScan): void {
  const { traceparent, tracestate, baggage } = request.headers
  if (typeof traceparent === 'string') call.trace = parseTraceparent(traceparent, joined(tracestate))
  if (baggage !== undefined) call.baggage = parseBaggage(joined(baggage))
  const { previousAttempts } = scan
  if (previousAttempts !== undefined && /^\d{1,3}$/.test(previousAttempts))
    call.previousAttempts = Number(previousAttempts)
}

function joined(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header
}
