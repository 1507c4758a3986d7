/**
 * One side of an HTTP/2 connection, usually the client, that sends any frames in any order, for
 * attacks that no proper client can make.
 */
import { connect as connectTcp, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

export const FLAG = { ack: 1, endStream: 1, endHeaders: 4 } as const

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly streamId: number
  readonly payload: Buffer
}

export function frameOf(type: number, flags: number, streamId: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(streamId, 5)
  return Buffer.concat([head, payload])
}

/** HPACK, all as literals that no table keeps. */
export function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const fields = Object.entries(headers).map(([name, value]) => [Buffer.of(0), text(name), text(value)])
  return Buffer.concat(fields.flat())
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  const length = [Math.min(bytes.length, 127)]
  if (bytes.length >= 127) {
    let rest = bytes.length - 127
    for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128)
    length.push(rest)
  }
  return Buffer.concat([Buffer.from(length), bytes])
}

/** Frames by kind, for {@link RawHttp2.write}. */
export const frames = {
  headers: (streamId: number, headers: Readonly<Record<string, string>>, flags = FLAG.endStream | FLAG.endHeaders) =>
    frameOf(FRAME.headers, flags, streamId, headerBlock(headers)),
  continuation: (streamId: number, headers: Readonly<Record<string, string>>, flags = 0) =>
    frameOf(FRAME.continuation, flags, streamId, headerBlock(headers)),
  data: (streamId: number, payload: Uint8Array, flags = 0) => frameOf(FRAME.data, flags, streamId, payload),
  reset: (streamId: number, code = 8) => frameOf(FRAME.reset, 0, streamId, uint32(code)),
  settings: (values: Readonly<Record<number, number>> = {}) =>
    frameOf(FRAME.settings, 0, 0, Buffer.concat(Object.entries(values).map(([id, value]) => setting(+id, value)))),
  settingsAck: () => frameOf(FRAME.settings, FLAG.ack, 0),
  ping: (payload: Uint8Array = Buffer.alloc(8), flags = 0) => frameOf(FRAME.ping, flags, 0, payload),
  windowUpdate: (streamId: number, increment: number) => frameOf(FRAME.windowUpdate, 0, streamId, uint32(increment)),
  priority: (streamId: number) => frameOf(FRAME.priority, 0, streamId, Buffer.from([0, 0, 0, 0, 16])),
  goAway: (lastStreamId = 0, code = 0) =>
    frameOf(FRAME.goAway, 0, 0, Buffer.concat([uint32(lastStreamId), uint32(code)])),
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.of(0, id), uint32(value)])
}

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export class RawHttp2 {
  readonly socket: Socket
  /** All that the server has sent. */
  readonly received: Frame[] = []
  #rest: Buffer = Buffer.alloc(0)
  /** Bytes of a client's preface that are still to come. */
  #preface = 0
  readonly #heard: ((frame: Frame) => void) | undefined

  private constructor(socket: Socket, heard?: (frame: Frame) => void) {
    this.socket = socket
    this.#heard = heard
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
  }

  /**
   * Connected, preface and an empty SETTINGS sent; the server's SETTINGS and PING are acknowledged
   * as they come.
   */
  static async connect(port: number, tls?: ConnectionOptions): Promise<RawHttp2> {
    const to = { port, host: '127.0.0.1' }
    const socket = tls === undefined ? connectTcp(to) : connectTls({ ...to, ALPNProtocols: ['h2'], ...tls })
    await new Promise<void>((resolve, reject) => {
      socket.once(tls === undefined ? 'connect' : 'secureConnect', resolve)
      socket.once('error', reject)
    })
    const client = new RawHttp2(socket)
    client.write(PREFACE, frames.settings())
    return client
  }

  /** The other side of `socket`, which a server has accepted; `heard` is called with each frame. */
  static serve(socket: Socket, heard: (frame: Frame) => void): RawHttp2 {
    const server = new RawHttp2(socket, heard)
    server.#preface = PREFACE.length
    server.write(frames.settings())
    return server
  }

  /** Sends all in one write; after the end of the connection it does nothing. */
  write(...bytes: readonly Uint8Array[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(bytes))
  }

  get closed(): boolean {
    return this.socket.destroyed
  }

  /**
   * The first frame that matches, or undefined: the connection ended, or `withinMs` passed, without
   * one.
   */
  async frame(matches: (frame: Frame) => boolean, withinMs = 15_000): Promise<Frame | undefined> {
    await this.#until(() => this.closed || this.received.some(matches), withinMs)
    return this.received.find(matches)
  }

  /** Whether the connection has ended within `withinMs`. */
  async ends(withinMs = 15_000): Promise<boolean> {
    await this.#until(() => this.closed, withinMs)
    return this.closed
  }

  async close(): Promise<void> {
    this.socket.destroy()
    await this.ends()
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    if (this.#rest.length < this.#preface) return
    this.#rest = this.#rest.subarray(this.#preface)
    this.#preface = 0
    while (this.#rest.length >= 9 && this.#rest.length >= 9 + this.#rest.readUIntBE(0, 3)) {
      const end = 9 + this.#rest.readUIntBE(0, 3)
      const [type, flags] = [this.#rest[3]!, this.#rest[4]!]
      const streamId = this.#rest.readUInt32BE(5) & 0x7fffffff
      const frame = { type, flags, streamId, payload: this.#rest.subarray(9, end) }
      this.received.push(frame)
      this.#rest = this.#rest.subarray(end)
      if (type === FRAME.settings && (flags & FLAG.ack) === 0) this.write(frames.settingsAck())
      if (type === FRAME.ping && (flags & FLAG.ack) === 0 && this.#heard === undefined) {
        this.write(frames.ping(frame.payload, FLAG.ack))
      }
      this.#heard?.(frame)
    }
  }

  async #until(done: () => boolean, withinMs: number): Promise<void> {
    const endsAt = performance.now() + withinMs
    while (!done() && performance.now() < endsAt) await sleep(5)
  }
}
