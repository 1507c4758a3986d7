/**
 * Reads heads from untrusted bytes. A head that contradicts its own lengths has a {@link problem};
 * one that breaks a rule of HTTP has a {@link fault}, and is read to its end.
 */
import { TRACEPARENT } from '../core/carrier.ts'
import { lengthOf } from '../core/digits.ts'
import { PREVIOUS_ATTEMPTS, TIMEOUT } from '../core/headers.ts'
import type { LoadReport } from '../core/load-report.ts'
import { readHex, readLatin1 } from './bytes.ts'
import { isMethod, isPadded, isPath, isStatus, isText, RULE, ruleOf } from './field-rules.ts'
import { METHODS, NAMES } from './static-table.ts'
import { FLAG, RESET, type ResetCode } from './wire.ts'

/** Longer values seldom repeat, and would be kept for long. */
const LONGEST_KEPT = 64
const ENDS_EARLY = 'a head that ends early'
const RULES = NAMES.map((name, code) => (code === 0 ? RULE.INVALID : ruleOf(name)))

/** One per session: the fields hold the last head that was read. */
export class HeadReader {
  /** Why the last head cannot be read; `undefined`: it can. */
  problem: string | undefined = undefined
  /** Which rule it breaks. */
  fault: string | undefined = undefined
  faultCode: ResetCode = RESET.PROTOCOL_ERROR
  method = ''
  path = ''
  status = 0
  reason = ''
  headers: string[] = []
  /** Its `content-length`; -1 without one. */
  length = -1
  /** What a response or trailers with LOAD report: in flight, and µs. */
  inFlight = 0
  latency = 0
  served = 0
  /** Where the head ends and the body begins. */
  at = 0
  readonly #maxHeaders: number
  /** The last valid value of each name in the table: most calls repeat them. */
  readonly #values: string[] = NAMES.map(() => '')
  #bytes!: Buffer
  #to = 0

  constructor(maxHeaders: number) {
    this.#maxHeaders = maxHeaders
  }

  /** Returns whether it can be read. */
  request(flags: number, bytes: Buffer, from: number, to: number): boolean {
    this.#begin(bytes, from, to)
    const code = this.#u8()
    if (code === 0) {
      this.method = this.#text(this.#u8())
      if (!isMethod(this.method)) this.#breaks('an invalid method')
    } else {
      this.method = METHODS[code] ?? ''
      if (this.method === '') this.#breaks('an invalid method')
    }
    this.path = this.#text(this.#u16())
    if (!isPath(this.path, this.method)) this.#breaks('an invalid path')
    const timeoutMs = (flags & FLAG.DEADLINE) === 0 ? -1 : this.#u32()
    const trace = (flags & FLAG.TRACE) === 0 ? undefined : this.#trace()
    const attempts = (flags & FLAG.ATTEMPTS) === 0 ? -1 : this.#u8()
    if (!this.#fields(false)) return false
    const { headers } = this
    if (timeoutMs >= 0) headers.push(TIMEOUT, String(timeoutMs))
    if (trace !== undefined) headers.push(TRACEPARENT, trace)
    if (attempts >= 0) headers.push(PREVIOUS_ATTEMPTS, String(attempts))
    return true
  }

  response(flags: number, bytes: Buffer, from: number, to: number): boolean {
    this.#begin(bytes, from, to)
    this.status = this.#u16()
    if (!isStatus(this.status)) this.#breaks('an invalid status')
    this.reason = (flags & FLAG.REASON) === 0 ? '' : this.#text(this.#u8())
    if (!isText(this.reason)) this.#breaks('an invalid reason phrase')
    if ((flags & FLAG.LOAD) !== 0) this.#load()
    return this.#fields(false)
  }

  trailers(flags: number, bytes: Buffer, from: number, to: number): boolean {
    this.#begin(bytes, from, to)
    if ((flags & FLAG.LOAD) !== 0) this.#load()
    if (!this.#fields(true)) return false
    if (this.at !== to) this.problem = 'bytes after the trailers'
    return this.at === to
  }

  /** `now`: when it arrived. */
  load(now: number): LoadReport {
    const { inFlight, latency, served } = this
    return { inFlight, latencyMs: latency / 1_000, servedMs: served / 1_000, arrivedAt: now }
  }

  #begin(bytes: Buffer, from: number, to: number): void {
    this.problem = undefined
    this.fault = undefined
    this.faultCode = RESET.PROTOCOL_ERROR
    this.length = -1
    this.#bytes = bytes
    this.#to = to
    this.at = from
  }

  #fields(trailers: boolean): boolean {
    const count = this.#u16()
    if (this.problem !== undefined) return false
    if (count > this.#maxHeaders) {
      this.#breaks(`${count} headers, at most ${this.#maxHeaders}`)
      this.faultCode = RESET.HEAD_TOO_LARGE
    }
    const bytes = this.#bytes
    const to = this.#to
    const headers: string[] = []
    let hosts = 0
    let { at } = this
    for (let i = 0; i < count; i++) {
      if (at + 3 > to) return this.#endsEarly()
      const code = bytes[at++]!
      let name = NAMES[code] ?? ''
      let rule = RULES[code] ?? RULE.INVALID
      if (code === 0) {
        const length = bytes[at++]!
        // Two bytes follow: the length of the value.
        if (at + length + 2 > to) return this.#endsEarly()
        name = readLatin1(bytes, at, at + length)
        at += length
        rule = ruleOf(name)
      }
      const end = at + 2 + ((bytes[at]! << 8) | bytes[at + 1]!)
      if (end > to) return this.#endsEarly()
      let value = this.#values[code]
      if (code === 0 || value === undefined || !isSame(value, bytes, at + 2, end)) {
        value = readLatin1(bytes, at + 2, end)
        if (rule === RULE.INVALID) this.#breaks('an invalid name of a header')
        else if (!isText(value) || isPadded(value)) this.#breaks(`an invalid value of ${name}`)
        else if (code > 0 && value.length <= LONGEST_KEPT) this.#values[code] = value
      }
      at = end
      if (rule !== RULE.PLAIN) {
        this.#special(rule, name, value, trailers)
        if (rule === RULE.HOST && ++hosts > 1) this.#breaks('several host headers')
      }
      headers.push(name, value)
    }
    this.at = at
    this.headers = headers
    return true
  }

  #special(rule: number, name: string, value: string, trailers: boolean): void {
    if (rule === RULE.CONNECTION) this.#breaks(`the header ${name}`)
    else if (rule === RULE.TE) {
      if (value !== 'trailers') this.#breaks('an invalid value of te')
    } else if (trailers) this.#breaks(`the trailer ${name}`)
    else if (rule === RULE.LENGTH) {
      if (this.length >= 0) this.#breaks('several content-length headers')
      this.length = lengthOf(value)
      if (this.length < 0) this.#breaks('an invalid value of content-length')
    }
  }

  #load(): void {
    this.inFlight = this.#u16()
    this.latency = this.#u32()
    this.served = this.#u32()
  }

  #trace(): string {
    const { at } = this
    if (at + 25 > this.#to) {
      this.#endsEarly()
      return ''
    }
    this.at = at + 25
    const hex = readHex(this.#bytes, at, at + 25)
    return `00-${hex.slice(0, 32)}-${hex.slice(32, 48)}-${hex.slice(48)}`
  }

  #text(length: number): string {
    const { at } = this
    if (at + length > this.#to) {
      this.#endsEarly()
      return ''
    }
    this.at = at + length
    return readLatin1(this.#bytes, at, at + length)
  }

  #u8(): number {
    if (this.at + 1 > this.#to) {
      this.#endsEarly()
      return 1
    }
    return this.#bytes[this.at++]!
  }

  #u16(): number {
    return (this.#u8() << 8) | this.#u8()
  }

  #u32(): number {
    return this.#u16() * 0x10000 + this.#u16()
  }

  #endsEarly(): false {
    this.problem = ENDS_EARLY
    return false
  }

  #breaks(rule: string): void {
    this.fault ??= rule
  }
}

/** Compares without making a string. */
function isSame(text: string, bytes: Buffer, from: number, to: number): boolean {
  const { length } = text
  if (length !== to - from) return false
  for (let i = 0; i < length; i++) if (bytes[from + i] !== text.charCodeAt(i)) return false
  return true
}
