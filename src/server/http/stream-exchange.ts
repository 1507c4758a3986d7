/** From a new stream to Node's request and response, which the server gives to its listeners. */
import { type IncomingMessage, METHODS, maxHeaderSize, type Server } from 'node:http'
import { lengthOf } from '../../core/digits.ts'
import type { EventSink } from '../../telemetry/events.ts'
import type { Connection } from '../connection.ts'
import { InboundMessage } from './headers.ts'
import { refuseHead } from './request-head.ts'
import type { ServedStream } from './served-stream.ts'
import { StreamResponse } from './stream-response.ts'
import { addHeaders, StreamSocket } from './stream-socket.ts'

/** The methods that the parser of HTTP/1.1 knows. */
const KNOWN_METHODS: ReadonlySet<string> = new Set(METHODS.filter((method) => method !== 'CONNECT'))
const CONTINUE = /(?:^|\W)100-continue(?:$|\W)/i
const CHUNKED = ['transfer-encoding', 'chunked']

type Node = IncomingMessage & { httpVersionMajor: number; httpVersionMinor: number; httpVersion: string }

/** `problem`: why the head is refused, if its transport has found that. */
export function openExchange(
  server: Server,
  events: EventSink,
  connection: Connection,
  stream: ServedStream,
  method: string,
  path: string,
  headers: string[],
  end: boolean,
  problem?: string,
): void {
  const head = new StreamHead(method, path, headers, end, problem)
  const socket = new StreamSocket(connection, stream, server)
  const request = new InboundMessage(socket.socket) as Node
  request.httpVersionMajor = 1
  request.httpVersionMinor = 1
  request.httpVersion = '1.1'
  request.method = method
  request.url = path
  // Body parsers look for one of the two headers.
  if (!end && head.length === -1) headers.push(...CHUNKED)
  addHeaders(request, headers)
  const response = new StreamResponse(request, socket)
  socket.open(request, response, end ? undefined : head.length)
  if (head.problem !== undefined) refuseHead(events, request, response, head.problem, head.status)
  else server.emit(eventOf(head.expect), request, response)
  if (end) socket.requestEnded()
}

function eventOf(expect: string | undefined): string {
  if (expect === undefined) return 'request'
  return CONTINUE.test(expect) ? 'checkContinue' : 'checkExpectation'
}

/** What a head says beside what all requests are checked for. */
class StreamHead {
  /** The declared length of the body; -1: unknown. */
  length = -1
  expect: string | undefined = undefined
  problem: string | undefined
  /** Of a refusal. */
  status = 400
  #bytes: number

  constructor(method: string, path: string, headers: readonly string[], end: boolean, problem: string | undefined) {
    this.problem = problem
    this.#bytes = path.length
    if (!KNOWN_METHODS.has(method)) this.problem = `The method ${method} is not served on a stream.`
    for (let i = 0; i < headers.length; i += 2) this.#read(headers[i]!, headers[i + 1]!)
    if (this.#bytes >= maxHeaderSize) {
      this.status = 431
      this.problem = `The head of the request has more than ${maxHeaderSize} bytes.`
    }
    if (end && this.length > 0) this.problem ??= 'The request has a content-length and no body.'
  }

  #read(name: string, value: string): void {
    this.#bytes += name.length + value.length
    switch (name) {
      case 'content-length':
        if (this.length >= 0 || lengthOf(value) < 0) this.problem = 'The content-length is no single number.'
        this.length = lengthOf(value)
        break
      case 'expect':
        this.expect = this.expect === undefined ? value : `${this.expect}, ${value}`
        break
      case 'connection':
      case 'keep-alive':
      case 'proxy-connection':
      case 'transfer-encoding':
      case 'upgrade':
        this.problem = `The header ${name} belongs to a connection of HTTP/1.1.`
    }
  }
}
