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
    if (client.errored !== null) target.resetAndDestroy()
    // What the caller has sent before is on its way.
    else target.destroySoon()
  })
}

/** So that the peer does not take the end of what has arrived for the end of the stream. */
export function reset(socket: Socket): void {
  // Node sends nothing of the kind over TLS, so the connection below is reset.
  const below = (socket as { readonly _parent?: Socket | null })._parent ?? undefined
  if (below === undefined) socket.resetAndDestroy()
  else if (!below.destroyed) below.resetAndDestroy()
  socket.destroy()
}
