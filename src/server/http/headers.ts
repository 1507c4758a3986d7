/**
 * Reads the headers of a request once, and removes the reserved ones before user code sees them. A
 * caller's identity comes from its certificate only.
 */
import { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import {
  BAGGAGE,
  type CarrierGetter,
  HTTP_FORMAT,
  type Inherited,
  readCarrier,
  TRACEPARENT,
  TRACESTATE,
} from '../../core/carrier.ts'
import { isReserved, MIRROR, PREFIX, PREVIOUS_ATTEMPTS, TIMEOUT } from '../../core/headers.ts'
import { OVERRIDE_PROOF, ROUTE_OVERRIDES } from '../../core/route-overrides.ts'
import { prepareEmitter } from '../guarded-emitter.ts'
import { exchangeOf } from './exchange.ts'
import { wantsUpgrade } from './upgrade-head.ts'

/** Findings in the headers of one request. Repeated lines are joined by commas, as Node does. */
export interface HeaderScan {
  /** Number of header lines, the removed ones included. */
  count: number
  hosts: number
  host: string | undefined
  transferEncoding: string | undefined
  contentLength: boolean
  timeout: string | undefined
  /** The first line only. */
  previousAttempts: string | undefined
  traceparent: string | undefined
  tracestate: string | undefined
  baggage: string | undefined
  mirror: string | undefined
  overrides: string | undefined
  overrideProof: string | undefined
  /** It has a header that only clients of the mesh send. */
  fromMesh: boolean
  /** Lower-case names of the removed headers; collected only by {@link scanHeaders}. */
  readonly dropped: string[] | undefined
}

type AddHeaderLines = (headers: string[] | undefined, count: number) => void

/**
 * Removes reserved headers as the parser delivers them. Later, three views of them would need
 * repair: `headers`, `rawHeaders` and `headersDistinct`. The hook is undocumented; if Node does not
 * call it, {@link scanHeaders} repairs the views.
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
    const upgrades = exchangeOf(this.socket)?.upgrades
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
    traceparent: undefined,
    tracestate: undefined,
    baggage: undefined,
    mirror: undefined,
    overrides: undefined,
    overrideProof: undefined,
    fromMesh: false,
    dropped,
  }
}

/** Scans the headers of `request` and removes the reserved ones. Called once, before user code. */
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

/** Compacts `headers` in place in one pass, without an allocation. */
function takeOut(headers: string[], scan: HeaderScan): void {
  scan.count += headers.length >> 1
  let kept = 0
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i]!
    const value = headers[i + 1]!
    if (isRemoved(name, value, scan)) continue
    if (kept !== i) {
      headers[kept] = name
      headers[kept + 1] = value
    }
    kept += 2
  }
  if (kept < headers.length) headers.length = kept
}

/** Decides by the first letter, and length, whether a name is worth lowering. */
function isRemoved(name: string, value: string, scan: HeaderScan): boolean {
  switch (name.charCodeAt(0) | 0x20) {
    case 0x62: // b
      if (name.length === BAGGAGE.length) readKept(name.toLowerCase(), value, scan)
      return false
    case 0x68: // h
      if (name.length === HOST.length) readKept(name.toLowerCase(), value, scan)
      return false
    case 0x74: // t
      readKept(name.toLowerCase(), value, scan)
      return false
    case 0x63: // c
    case 0x69: // i
    case 0x6c: // l
    case 0x70: // p
    case 0x73: // s
    case 0x77: // w
    case 0x78: // x
      return readReserved(name.toLowerCase(), value, scan)
    default:
      return false
  }
}

const HOST = 'host'

function readKept(name: string, value: string, scan: HeaderScan): void {
  if (name === HOST) {
    scan.hosts += 1
    scan.host = value
  } else if (name === TRACEPARENT) scan.traceparent = append(scan.traceparent, value)
  else if (name === TRACESTATE) scan.tracestate = append(scan.tracestate, value)
  else if (name === BAGGAGE) scan.baggage = append(scan.baggage, value)
  else if (name === 'transfer-encoding') scan.transferEncoding = append(scan.transferEncoding, value)
}

function readReserved(name: string, value: string, scan: HeaderScan): boolean {
  if (name === 'content-length') {
    scan.contentLength = true
    return false
  }
  if (name === MIRROR) {
    scan.mirror = append(scan.mirror, value)
    return false
  }
  if (name === ROUTE_OVERRIDES) {
    scan.overrides = append(scan.overrides, value)
    scan.dropped?.push(name)
    return true
  }
  if (!isReserved(name)) return false
  if (name.startsWith(PREFIX)) scan.fromMesh = true
  // Two timeouts joined are no number, so the request is refused.
  if (name === TIMEOUT) scan.timeout = append(scan.timeout, value)
  else if (name === PREVIOUS_ATTEMPTS) scan.previousAttempts ??= value
  else if (name === OVERRIDE_PROOF) scan.overrideProof = append(scan.overrideProof, value)
  scan.dropped?.push(name)
  return true
}

function append(before: string | undefined, value: string): string {
  return before === undefined ? value : `${before}, ${value}`
}

const SCAN: CarrierGetter<HeaderScan> = {
  format: HTTP_FORMAT,
  get(scan, name) {
    switch (name) {
      case TRACEPARENT:
        return scan.traceparent
      case TRACESTATE:
        return scan.tracestate
      case BAGGAGE:
        return scan.baggage
      case MIRROR:
        return scan.mirror
      default:
        return scan.previousAttempts
    }
  },
}

/** Reads what the caller propagated from scanned headers. */
export function readContext(call: Inherited, scan: HeaderScan): void {
  readCarrier(SCAN, scan, call)
}
