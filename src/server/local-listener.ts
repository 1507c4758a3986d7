/**
 * The Unix socket on which a server listens beside its port, for callers of the same user on the
 * same machine. It hands each connection to the server of the port, TLS and all.
 */
import { createServer, type Server, type Socket } from 'node:net'
import type { LocalAddress } from '../core/endpoint.ts'
import type { LocalDirectory } from '../net/local-directory.ts'

const LOOPBACK = '127.0.0.1'

export class LocalListener {
  readonly address: LocalAddress
  readonly #server: Server

  private constructor(server: Server, address: LocalAddress) {
    this.#server = server
    this.address = address
  }

  /** `server`: of the port. Resolves with `undefined` if there can be none. */
  static async open(directory: LocalDirectory, server: Server): Promise<LocalListener | undefined> {
    const made = directory.newSocket()
    if (made === undefined) return undefined
    const local = createServer({ allowHalfOpen: true }, (socket) => {
      accepted.add(socket)
      sayLoopback(socket)
      server.emit('connection', socket)
    })
    if (server.maxConnections !== undefined) local.maxConnections = server.maxConnections
    local.on('drop', () => server.emit('drop'))
    const listens = await new Promise<boolean>((resolve) => {
      local.once('error', () => resolve(false))
      local.listen({ path: made.path }, () => resolve(true))
    })
    if (!listens) return undefined
    local.on('error', ignore)
    void directory.sweep()
    return new LocalListener(local, made.address)
  }

  /** Accepts no more, and removes the socket. */
  close(): void {
    if (this.#server.listening) this.#server.close()
  }
}

/** Accepted by a Unix socket. A TCP socket may have lost its address, too, and is none of these. */
const accepted = new WeakSet<Socket>()

/** `socket`: as it was accepted, or the TLS socket on it. */
export function sayIfLocal(socket: Socket): void {
  const { _parent: parent } = socket as Socket & { readonly _parent?: Socket | null }
  if (parent !== undefined && parent !== null && accepted.has(parent)) sayLoopback(socket)
}

/** Applications expect an address of their callers, and this one is true. */
function sayLoopback(socket: Socket): void {
  const told = { remoteAddress: LOOPBACK, remoteFamily: 'IPv4', remotePort: 0 }
  for (const [name, value] of Object.entries(told)) {
    Object.defineProperty(socket, name, { value, configurable: true, writable: true })
  }
}

function ignore(): void {}
