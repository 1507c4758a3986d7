/**
 * Raw TCP servers that answer exactly as a test scripts them, with faults that a proper HTTP server
 * cannot produce.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { answerMux, OVER_MUX } from './mux-gateway.ts'

/** What one connection does; called for each, with its number. */
export type Script = (connection: ScriptedConnection, number: number) => void | Promise<void>

export class ScriptedConnection {
  readonly socket: Socket
  #received = ''
  #wake: (() => void) | undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (data) => {
      this.#received += data.toString('latin1')
      this.#wake?.()
    })
    socket.on('error', () => {})
    socket.on('close', () => this.#wake?.())
  }

  /** All that has come and was not taken yet. */
  get received(): string {
    return this.#received
  }

  /** The next request: its head, and the body if `content-length` says there is one. */
  async request(): Promise<string> {
    for (;;) {
      const end = this.#received.indexOf('\r\n\r\n')
      if (end >= 0) {
        const length = Number(/content-length: (\d+)/i.exec(this.#received.slice(0, end))?.[1] ?? 0)
        if (this.#received.length >= end + 4 + length) {
          const request = this.#received.slice(0, end + 4 + length)
          this.#received = this.#received.slice(request.length)
          return request
        }
      }
      if (this.socket.destroyed) throw new Error('the client closed the connection')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  write(text: string): void {
    this.socket.write(text, 'latin1')
  }

  /** A complete answer. */
  answer(status: number, body = '', headers: Readonly<Record<string, string>> = {}): void {
    const extra = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    this.write(`HTTP/1.1 ${status} Said\r\ncontent-length: ${body.length}\r\n${extra.join('')}\r\n${body}`)
  }

  /** FIN. */
  end(): void {
    this.socket.end()
  }

  /** RST. */
  reset(): void {
    this.socket.resetAndDestroy()
  }
}

export class ScriptedServer {
  readonly #server: Server
  #cut: (() => void) | undefined
  readonly #open = new Set<Socket>()
  /**
   * Heads and bodies of all requests that `request()` returned, by the scripts that keep them here.
   */
  readonly requests: string[] = []
  connections = 0

  constructor(script: Script) {
    this.#server = createServer((socket) => {
      const number = this.connections++
      this.#open.add(socket)
      socket.on('close', () => this.#open.delete(socket))
      const connection = new ScriptedConnection(socket)
      void Promise.resolve(script(connection, number)).catch(() => socket.destroy())
    })
    if (OVER_MUX) this.#cut = answerMux(this.#server)
  }

  async listen(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve))
    return this
  }

  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  get open(): number {
    return this.#open.size
  }

  async close(): Promise<void> {
    for (const socket of this.#open) socket.destroy()
    this.#cut?.()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** Answers every request on every connection with the same. */
export function always(status: number, body = '', headers: Readonly<Record<string, string>> = {}): Script {
  return async (connection) => {
    for (;;) {
      await connection.request()
      connection.answer(status, body, headers)
    }
  }
}
