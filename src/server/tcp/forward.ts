/**
 * Forwards a connection to its target, in both directions, with the backpressure of each side. An
 * end of one side is an end for the other; a break of one side breaks the other.
 */
import type { Socket } from 'node:net'

/** `client` may be over TLS. `broken`: called at most once, if the target breaks. */
export function forward(client: Socket, target: Socket, broken: (error: Error) => void): void {
  client.pipe(target)
  target.pipe(client)
  let error: Error | undefined
  target.on('error', (cause: Error) => {
    error = cause
  })
  target.once('close', () => {
    if (client.destroyed || (error === undefined && target.readableEnded)) return
    broken(error ?? new Error('the target closed the connection'))
    reset(client)
  })
  client.once('close', () => {
    if (target.destroyed) return
    if (client.errored !== null) reset(target)
    // What the caller has sent before is on its way.
    else target.destroySoon()
  })
}

/**
 * So that the peer does not take the end of what has arrived for the end of the stream. Over TLS,
 * Node has nothing of the kind: it closes the connection below, which is marked to be reset.
 * (`resetAndDestroy` of that connection would free TLS while it runs.)
 */
export function reset(socket: Socket): void {
  const below = (socket as unknown as Secured)._parent ?? undefined
  // A Unix socket, which has no address, cannot be reset.
  const isTcp = socket.remoteAddress !== undefined
  if (isTcp && below === undefined) socket.resetAndDestroy()
  else {
    if (isTcp) below!.resetAndClosing = true
    socket.destroy()
  }
}

/** Of Node's own; without them, the connection is closed. */
interface Secured {
  readonly _parent?: { resetAndClosing?: boolean } | null
}
