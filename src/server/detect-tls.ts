/**
 * One port for TLS and plaintext: the first byte of a connection tells which it is (0x16 begins
 * every TLS handshake).
 */
import type { Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'

const TLS_HANDSHAKE = 0x16

/**
 * Calls `tls` or `plain` with the untouched connection, or destroys it if nothing comes within
 * `ms`.
 */
export function detectTls(
  socket: Socket,
  clock: Clock,
  ms: number,
  tls: (socket: Socket) => void,
  plain: (socket: Socket) => void,
): void {
  const stop = (): void => {
    clock.stopTimer(timer)
    socket.off('readable', look)
    socket.off('close', stop)
    socket.off('error', ignore)
  }
  const look = (): void => {
    const first = socket.read(1) as Buffer | null
    if (first === null) {
      // Woken by the end of a connection that never said anything.
      if (socket.readableEnded || socket.destroyed) socket.destroy()
      return
    }
    stop()
    socket.unshift(first)
    if (first[0] === TLS_HANDSHAKE) tls(socket)
    else plain(socket)
  }
  const timer = clock.startBackgroundTimer(ms, (quiet) => quiet.destroy(), socket)
  socket.on('readable', look)
  socket.on('close', stop)
  socket.on('end', () => socket.destroy())
  socket.on('error', ignore)
}

function ignore(): void {}
