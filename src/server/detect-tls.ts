/** Serves TLS and plaintext on one port: every TLS handshake begins with the byte 0x16. */
import type { Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'

const TLS_HANDSHAKE = 0x16

/** Calls `tls` or `plain` with nothing consumed. Destroys a socket that is silent for `ms`. */
export function detectTls(socket: Socket, clock: Clock, ms: number, tls: () => void, plain: () => void): void {
  const stop = (): void => {
    clock.stopTimer(timer)
    socket.off('readable', look)
    socket.off('close', stop)
    socket.off('error', ignore)
  }
  const look = (): void => {
    const first = socket.read(1) as Buffer | null
    if (first === null) {
      // The peer ended the connection without sending a byte.
      if (socket.readableEnded || socket.destroyed) socket.destroy()
      return
    }
    stop()
    socket.unshift(first)
    if (first[0] === TLS_HANDSHAKE) tls()
    else plain()
  }
  const timer = clock.startBackgroundTimer(ms, (silent) => silent.destroy(), socket)
  socket.on('readable', look)
  socket.on('close', stop)
  socket.on('end', () => socket.destroy())
  socket.on('error', ignore)
}

function ignore(): void {}
