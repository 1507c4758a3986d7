/** Services that speak WebSocket through the package `ws`, and what a test sees of a client. */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { type RawData, WebSocketServer, type WebSocket as WsWebSocket } from 'ws'
import { makeConnector } from '../../../src/client/http/wire/create-connection.ts'
import type { WebSocketOptions } from '../../../src/client/websocket/options.ts'
import { makeWebSocket } from '../../../src/client/websocket/web-socket.ts'
import { opened } from '../http/opened.ts'
import { makeRig, type Rig, type RigOptions } from '../http/rig.ts'

export interface ChatOptions {
  /** Answers the handshake itself, and returns true. */
  readonly refuse?: (request: IncomingMessage, socket: Socket) => boolean
  readonly protocols?: string
  readonly deflate?: boolean
  readonly onOpen?: (socket: WsWebSocket, request: IncomingMessage) => void
}

/** Echoes every message. */
export class Chat {
  readonly server: Server
  readonly handshakes: IncomingMessage[] = []
  readonly open: WsWebSocket[] = []
  readonly codes: number[] = []
  readonly #sockets: Socket[] = []

  constructor(options: ChatOptions = {}) {
    this.server = createServer((_req, res) => res.end('no upgrade'))
    const chat = new WebSocketServer({
      noServer: true,
      perMessageDeflate: options.deflate === true,
      ...(options.protocols !== undefined && { handleProtocols: () => options.protocols! }),
    })
    this.server.on('connection', (socket) => this.#sockets.push(socket))
    this.server.on('upgrade', (request, socket, head) => {
      this.handshakes.push(request)
      socket.on('error', () => {})
      if (options.refuse?.(request, socket as Socket) === true) return
      chat.handleUpgrade(request, socket, head, (one) => {
        this.open.push(one)
        one.on('error', () => {})
        one.on('close', (code) => this.codes.push(code))
        one.on('message', (data: RawData, binary: boolean) => one.send(data as Buffer, { binary }))
        options.onOpen?.(one, request)
      })
    })
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    return this
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>((resolve) => this.server.close(() => resolve()))
  }
}

export async function chat(options?: ChatOptions): Promise<Chat> {
  return opened(await new Chat(options).listen())
}

export async function rigTo(services: readonly { readonly port: number }[], options?: RigOptions): Promise<Rig> {
  const ports = services.map(({ port }) => port)
  return opened(await makeRig(ports, { service: 'chat', ...options }))
}

/** What its listeners have seen. */
export class Seen {
  readonly socket: WebSocket
  readonly events: string[] = []
  readonly messages: unknown[] = []
  error: (Error & { code?: string; status?: number }) | undefined = undefined
  closed: { code: number; reason: string; wasClean: boolean } | undefined = undefined

  constructor(socket: WebSocket) {
    this.socket = socket
    for (const name of ['open', 'message', 'error', 'close'] as const) {
      socket.addEventListener(name, (event) => {
        this.events.push(name)
        if (name === 'message') this.messages.push((event as MessageEvent).data)
        if (name === 'error') this.error = (event as unknown as { error: Error }).error
        if (name === 'close') this.closed = event as CloseEvent
      })
    }
  }

  /** Resolves when the event comes, or has come. */
  async heard(name: 'open' | 'message' | 'error' | 'close', times = 1): Promise<this> {
    while (this.events.filter((each) => each === name).length < times) {
      if (name !== 'close' && this.closed !== undefined) throw this.error ?? new Error(`closed before ${name}`)
      await new Promise((resolve) => {
        this.socket.addEventListener('close', resolve, { once: true })
        this.socket.addEventListener(name, resolve, { once: true })
      })
    }
    return this
  }
}

export function webSocket(rig: Rig, path = '/room', options?: WebSocketOptions): Seen {
  return new Seen(makeWebSocket(rig, path, options))
}

export function connector(rig: Rig): ReturnType<typeof makeConnector> {
  return makeConnector(rig, undefined)
}
