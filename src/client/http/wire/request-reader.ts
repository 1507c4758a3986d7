/**
 * Reads the HTTP/1.1 requests that a library of this process writes, one at a time. It refuses what
 * two readers could understand differently.
 */
import { lengthOf } from '../../../core/digits.ts'
import { mistake } from '../../call-options.ts'

/** The head of a request, as it was written. */
export interface WireHead {
  readonly method: string
  readonly path: string
  /** `[name, value]`, in their order and case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Bytes of its body; `undefined`: in chunks. */
  readonly length: number | undefined
  /** The protocol that it asks for on this connection. */
  readonly upgrade: string | undefined
  /** The body follows once it is asked for. */
  readonly expectsContinue: boolean
  /** Another request may follow on the connection. */
  readonly keepAlive: boolean
  readonly minor: 0 | 1
}

export interface RequestSink {
  onHead(head: WireHead): void
  /** A copy: its writer may use the memory again. */
  onBody(chunk: Buffer): void
  onEnd(): void
}

/** Far beyond what servers accept: they are the ones to refuse. */
const MOST_HEAD_BYTES = 262_144
/** A size in hexadecimal, and extensions that we skip. */
const MOST_LINE_BYTES = 4_096
const REQUEST_LINE = /^([^ ]+) ([^ ]+) HTTP\/1\.([01])$/
const CHUNK_SIZE = /^([0-9a-f]{1,12})[\t ]*(?:;.*)?$/i
const NOTHING = Buffer.alloc(0)
const CR = 0x0d
const LF = 0x0a

type State = 'head' | 'fixed' | 'chunk-size' | 'chunk-data' | 'chunk-end' | 'trailers' | 'complete'

export class RequestReader {
  readonly #sink: RequestSink
  #state: State = 'head'
  /** What has come of a head or a line. */
  #held: Buffer = NOTHING
  /** Bytes that are still to come, of the body or of a chunk. */
  #left = 0

  constructor(sink: RequestSink) {
    this.#sink = sink
  }

  /** The request has arrived as a whole. */
  get complete(): boolean {
    return this.#state === 'complete'
  }

  /** Nothing of a request has arrived. */
  get idle(): boolean {
    return this.#state === 'head' && this.#held.length === 0
  }

  /** Bytes of a body that are missing; `undefined`: unknown. */
  get missing(): number | undefined {
    return this.#state === 'fixed' ? this.#left : undefined
  }

  /** The answer is out: another request may come. */
  next(): void {
    this.#state = 'head'
  }

  /**
   * Reads on; what stands behind an upgrade is returned.
   * @throws OptionsError if it is no HTTP/1.1 that we understand
   */
  read(chunk: Buffer): Buffer {
    let rest = chunk
    while (rest.length > 0) {
      switch (this.#state) {
        case 'head': {
          const head = this.#until(rest, HEAD_END, MOST_HEAD_BYTES)
          if (head === undefined) return NOTHING
          rest = rest.subarray(head.taken)
          if (this.#head(head.text)) return rest
          break
        }
        case 'fixed':
        case 'chunk-data': {
          const part = rest.subarray(0, this.#left)
          rest = rest.subarray(part.length)
          this.#left -= part.length
          this.#sink.onBody(Buffer.from(part))
          if (this.#left === 0) this.#partEnds()
          break
        }
        case 'complete':
          throw invalid('bytes beyond its declared length (none: no body), or a request before the last answer')
        default: {
          const line = this.#until(rest, LINE_END, MOST_LINE_BYTES)
          if (line === undefined) return NOTHING
          rest = rest.subarray(line.taken)
          this.#line(line.text)
        }
      }
    }
    return NOTHING
  }

  #partEnds(): void {
    if (this.#state === 'chunk-data') this.#state = 'chunk-end'
    else this.#end()
  }

  #end(): void {
    this.#state = 'complete'
    this.#sink.onEnd()
  }

  #line(text: string): void {
    if (this.#state === 'chunk-size') {
      const size = CHUNK_SIZE.exec(text)
      if (size === null) throw invalid('a chunk without its size')
      this.#left = Number.parseInt(size[1]!, 16)
      this.#state = this.#left === 0 ? 'trailers' : 'chunk-data'
    } else if (this.#state === 'chunk-end') {
      if (text !== '') throw invalid('a chunk that is longer than its size')
      this.#state = 'chunk-size'
    } else {
      if (text !== '') throw invalid('trailers of a request, which the mesh does not send')
      this.#end()
    }
  }

  /** Text up to `end`, and the bytes of `rest` that belong to it; `undefined`: more must come. */
  #until(rest: Buffer, end: Buffer, most: number): { readonly text: string; readonly taken: number } | undefined {
    const before = this.#held.length
    const all = before === 0 ? rest : Buffer.concat([this.#held, rest])
    const at = all.indexOf(end, Math.max(0, before - end.length))
    if (at < 0) {
      if (all.length > most) throw invalid(`a head or line of more than ${most} bytes`)
      // The writer may use its memory again.
      this.#held = before === 0 ? Buffer.from(rest) : all
      return undefined
    }
    this.#held = NOTHING
    return { text: all.toString('latin1', 0, at), taken: at + end.length - before }
  }

  /** Whether the connection belongs to another protocol now. */
  #head(text: string): boolean {
    const lines = text.split('\r\n')
    const request = REQUEST_LINE.exec(lines[0]!)
    if (request === null) throw invalid(`the request line ${JSON.stringify(lines[0]!.slice(0, 100))}`)
    const head = new HeadFields(request[1]!, request[2]!, request[3] === '0' ? 0 : 1)
    for (let i = 1; i < lines.length; i++) head.add(lines[i]!)
    head.finish()
    this.#sink.onHead(head)
    if (head.upgrade !== undefined) {
      this.#state = 'complete'
      return true
    }
    if (head.length === undefined) this.#state = 'chunk-size'
    else if (head.length > 0) {
      this.#state = 'fixed'
      this.#left = head.length
    } else this.#end()
    return false
  }
}

class HeadFields implements WireHead {
  readonly method: string
  readonly path: string
  readonly minor: 0 | 1
  readonly headers: [string, string][] = []
  length: number | undefined = 0
  upgrade: string | undefined = undefined
  expectsContinue = false
  keepAlive: boolean
  #declared: string | undefined = undefined
  #coding = ''
  #wantsUpgrade = false

  constructor(method: string, path: string, minor: 0 | 1) {
    this.method = method
    this.path = path
    this.minor = minor
    this.keepAlive = minor === 1
  }

  add(line: string): void {
    const colon = line.indexOf(':')
    // A line that begins with a space continues the one before (obsolete folding).
    if (colon <= 0 || line.charCodeAt(0) === 0x20 || line.charCodeAt(0) === 0x09) {
      throw invalid(`the header line ${JSON.stringify(line.slice(0, 100))}`)
    }
    const name = line.slice(0, colon)
    const value = line.slice(colon + 1).trim()
    this.headers.push([name, value])
    switch (name.toLowerCase()) {
      case 'content-length':
        if (this.#declared !== undefined && this.#declared !== value) throw invalid('two lengths')
        this.#declared = value
        break
      case 'transfer-encoding':
        this.#coding += this.#coding === '' ? value.toLowerCase() : `,${value.toLowerCase()}`
        break
      case 'connection':
        for (const option of value.toLowerCase().split(',')) {
          if (option.trim() === 'close') this.keepAlive = false
          else if (option.trim() === 'upgrade') this.#wantsUpgrade = true
        }
        break
      case 'upgrade':
        this.upgrade = value
        break
      case 'expect':
        if (value.toLowerCase() !== '100-continue') throw invalid(`the header expect: ${JSON.stringify(value)}`)
        this.expectsContinue = this.minor === 1
    }
  }

  finish(): void {
    if (!this.#wantsUpgrade || this.upgrade === '') this.upgrade = undefined
    if (this.#coding !== '') {
      if (this.#coding !== 'chunked' || this.minor === 0) throw invalid(`the transfer encoding '${this.#coding}'`)
      if (this.#declared !== undefined) throw invalid('a length and a transfer encoding')
      this.length = undefined
      return
    }
    if (this.#declared === undefined) return
    this.length = lengthOf(this.#declared)
    if (this.length < 0) throw invalid(`the content length ${JSON.stringify(this.#declared)}`)
  }
}

const HEAD_END = Buffer.of(CR, LF, CR, LF)
const LINE_END = Buffer.of(CR, LF)

function invalid(what: string): Error {
  return mistake([], `expected one HTTP/1.1 request at a time on this connection, got ${what}`)
}
