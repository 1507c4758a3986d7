/**
 * Reads heads from untrusted bytes. A head is malformed if a length leads beyond its frame, or a
 * part is none that HTTP allows.
 */

import { TRACEPARENT } from '../core/carrier.ts'
import { PREVIOUS_ATTEMPTS, TIMEOUT, TOKEN } from '../core/headers.ts'
import { readHex, readLatin1 } from './bytes.ts'
import { METHODS, NAMES } from './static-table.ts'
import { FLAG } from './wire.ts'

/** One per session: the fields hold the last head that was read. */
export class HeadReader {
  /** Why the last head is malformed; `undefined`: it is not. */
  problem: string | undefined = undefined
  method = ''
  path = ''
  status = 0
  reason = ''
  headers: string[] = []
  /** Where the head ends and the body begins. */
  at = 0
  readonly #maxHeaders: number
  #bytes!: Buffer
  #to = 0

  constructor(maxHeaders: number) {
    this.#maxHeaders = maxHeaders
  }

  /** Returns whether it is well-formed. */
  request(flags: number, bytes: Buffer, from: number, to: number): boolean {
    this.#begin(bytes, from, to)
    const code = this.#u8()
    if (code === 0) {
      this.method = this.#text(this.#u8())
      if (!TOKEN.test(this.method)) return this.#malformed('a method that is no token')
    } else {
      const method = METHODS[code]
      if (method === undefined) return this.#malformed('an unknown method')
      this.method = method
    }
    this.path = this.#text(this.#u16())
    if (this.path === '' || !PATH.test(this.path)) return this.#malformed('an invalid path')
    const timeoutMs = (flags & FLAG.DEADLINE) === 0 ? -1 : this.#u32()
    const trace = (flags & FLAG.TRACE) === 0 ? undefined : this.#trace()
    const attempts = (flags & FLAG.ATTEMPTS) === 0 ? -1 : this.#u8()
    if (!this.#fields()) return false
    const { headers } = this
    if (timeoutMs >= 0) headers.push(TIMEOUT, String(timeoutMs))
    if (trace !== undefined) headers.push(TRACEPARENT, trace)
    if (attempts >= 0) headers.push(PREVIOUS_ATTEMPTS, String(attempts))
    return true
  }

  response(flags: number, bytes: Buffer, from: number, to: number): boolean {
    this.#begin(bytes, from, to)
    this.status = this.#u16()
    if (this.status < 100 || this.status > 999) return this.#malformed('an invalid status')
    this.reason = (flags & FLAG.REASON) === 0 ? '' : this.#text(this.#u8())
    if (!VALUE.test(this.reason)) return this.#malformed('an invalid reason phrase')
    return this.#fields()
  }

  trailers(bytes: Buffer, from: number, to: number): boolean {
    this.#begin(bytes, from, to)
    if (!this.#fields()) return false
    return this.at === to ? true : this.#malformed('bytes after the trailers')
  }

  #begin(bytes: Buffer, from: number, to: number): void {
    this.problem = undefined
    this.#bytes = bytes
    this.#to = to
    this.at = from
  }

  #fields(): boolean {
    const count = this.#u16()
    if (this.problem !== undefined) return false
    if (count > this.#maxHeaders) return this.#malformed(`${count} headers, at most ${this.#maxHeaders}`)
    const headers: string[] = []
    for (let i = 0; i < count; i++) {
      const code = this.#u8()
      let name: string | undefined
      if (code === 0) {
        name = this.#text(this.#u8())
        if (!NAME.test(name)) return this.#malformed('an invalid name of a header')
      } else {
        name = NAMES[code]
        if (name === undefined) return this.#malformed('an unknown name of a header')
      }
      const value = this.#text(this.#u16())
      if (this.problem !== undefined) return false
      if (!VALUE.test(value)) return this.#malformed(`an invalid value of ${name}`)
      headers.push(name, value)
    }
    this.headers = headers
    return this.problem === undefined
  }

  #trace(): string {
    const { at } = this
    if (at + 25 > this.#to) {
      this.#malformed('a head that ends early')
      return ''
    }
    this.at = at + 25
    const hex = readHex(this.#bytes, at, at + 25)
    return `00-${hex.slice(0, 32)}-${hex.slice(32, 48)}-${hex.slice(48)}`
  }

  #text(length: number): string {
    const { at } = this
    if (at + length > this.#to) {
      this.#malformed('a head that ends early')
      return ''
    }
    this.at = at + length
    return readLatin1(this.#bytes, at, at + length)
  }

  #u8(): number {
    if (this.at + 1 > this.#to) {
      this.#malformed('a head that ends early')
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

  #malformed(problem: string): false {
    this.problem ??= problem
    return false
  }
}

/** Lower case, so that two spellings are one header. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
/** RFC 9110, 5.5: no control characters, no surrounding white space. */
const VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/
/** Origin form, or `*`. */
const PATH = /^(?:\/[\x21\x22\x24-\x7e\x80-\xff]*|\*)$/
