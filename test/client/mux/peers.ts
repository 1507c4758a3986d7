/** Peers that speak `inmesh/1` in plaintext as a test scripts them, and clients of theirs. */

import type { AddressInfo } from 'node:net'
import { createServer, type Server, type Socket } from 'node:net'
import { systemClock } from '../../../src/core/clock.ts'
import { Endpoint } from '../../../src/core/endpoint.ts'
import { HTTP1, MUX } from '../../../src/core/transport.ts'
import { MuxSession } from '../../../src/mux/session.ts'
import { MUX_DEFAULTS, type MuxSettings } from '../../../src/mux/settings.ts'
import type { MuxStream, StreamEvents } from '../../../src/mux/stream.ts'
import { opened } from '../http/opened.ts'
import { makeRig, type Rig, type RigOptions } from '../http/rig.ts'

export const NO_EVENTS: StreamEvents = {
  responseArrived() {},
  dataArrived(stream, chunk) {
    stream.read(chunk.length)
  },
  trailersArrived() {},
  wasReset() {},
  drained() {},
}

/** What a peer does with a request. It may set `stream.events`. */
export type Serve = (stream: MuxStream, path: string, connection: PeerConnection, end: boolean) => void

export interface PeerConnection {
  readonly number: number
  readonly socket: Socket
  readonly session: MuxSession
}

export class MuxPeer {
  readonly connections: PeerConnection[] = []
  /** Paths of the requests that were executed. */
  readonly executed: string[] = []
  readonly #server: Server

  constructor(serve: Serve, settings: Partial<MuxSettings> = {}) {
    this.#server = createServer((socket) => {
      const session: MuxSession = new MuxSession(socket, 'server', { ...MUX_DEFAULTS, ...settings }, systemClock, {
        requestArrived: (stream, _method, path, _headers, end) => {
          stream.events = NO_EVENTS
          this.executed.push(path)
          serve(stream, path, connection, end)
        },
        settled() {},
        goingAway() {},
        roomChanged() {},
        broken() {},
        closed() {},
      })
      const connection = { number: this.connections.length, socket, session }
      this.connections.push(connection)
      socket.on('data', (bytes: Buffer) => session.receive(bytes))
    })
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    for (const { socket } of this.connections) socket.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}

export function answer(stream: MuxStream, body = 'ok', status = 200): void {
  stream.respond(status, '', ['content-length', String(Buffer.byteLength(body))], body, true)
}

export async function peer(serve: Serve, settings?: Partial<MuxSettings>): Promise<MuxPeer> {
  return opened(await new MuxPeer(serve, settings).listen())
}

/** An endpoint that announces `inmesh/1`. */
export function announcing(port: number, tls = false): Endpoint {
  return new Endpoint('inventory', {
    id: `i-${port}`,
    address: '127.0.0.1',
    port,
    protocol: 'http',
    tls,
    zone: undefined,
    version: undefined,
    weight: 1,
    metadata: {},
    transports: [MUX, HTTP1],
  })
}

/** A client of endpoints that announce `inmesh/1`. */
export async function clientOf(ports: number[], options?: RigOptions): Promise<Rig> {
  return opened(
    await makeRig(
      ports.map((port) => announcing(port)),
      { preference: 'auto', ...options },
    ),
  )
}
