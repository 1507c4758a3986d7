/** A plain TCP server, as a database behind `mesh.listen` would be. Closed when the test ends. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type ListenOptions, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export interface TcpTarget {
  /** As the option `target` takes it. */
  readonly address: string
  readonly server: Server
  readonly sockets: ReadonlySet<Socket>
  close(): void
}

export async function tcpTarget(
  serve: (socket: Socket) => void,
  at: ListenOptions = { host: '127.0.0.1', port: 0 },
): Promise<TcpTarget> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    serve(socket)
  })
  server.listen(at)
  await once(server, 'listening')
  const close = (): void => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  onTestFinished(close)
  const address = at.path ?? `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { address, server, sockets, close }
}

export function echo(socket: Socket): void {
  socket.pipe(socket)
}
