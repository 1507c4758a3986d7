/**
 * Tells the protocols on one port apart by the first bytes of a connection, such as TLS from
 * plaintext.
 */
import type { Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'

/** A protocol whose connections all begin with the same bytes. */
export interface Prefaced {
  readonly preface: Uint8Array
  readonly accept: (socket: Socket) => void
}

/** The first byte of every TLS handshake. */
export const TLS_PREFACE = Uint8Array.of(0x16)

/**
 * Hands `socket` over with nothing consumed: to the one of `known` whose preface it begins with, or
 * to `otherwise`. A socket that leaves this open for `ms` is answered with `silence` and destroyed,
 * or handed to it.
 */
export function detectPreface(
  socket: Socket,
  clock: Clock,
  ms: number,
  known: readonly Prefaced[],
  otherwise: (socket: Socket) => void,
  silence?: string | ((socket: Socket) => void),
): void {
  let head: Buffer = Buffer.alloc(0)
  const stop = (): void => {
    clock.stopTimer(timer)
    socket.off('readable', look)
    socket.off('close', stop)
    socket.off('end', destroy)
    socket.off('error', ignore)
  }
  const look = (): void => {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) {
      // The peer ended the connection too early.
      if (socket.readableEnded || socket.destroyed) socket.destroy()
      return
    }
    head = head.length === 0 ? chunk : Buffer.concat([head, chunk])
    const found = known.find(({ preface }) => startsAlike(head, preface))
    if (found !== undefined && head.length < found.preface.length) return
    stop()
    socket.unshift(head)
    ;(found?.accept ?? otherwise)(socket)
  }
  const destroy = (): void => void socket.destroy()
  const late = (): void => {
    stop()
    if (typeof silence === 'function') {
      silence(socket)
      return
    }
    socket.on('error', ignore)
    if (silence === undefined || !socket.writable) socket.destroy()
    else socket.end(silence, destroy)
  }
  const timer = clock.startBackgroundTimer(ms, late, undefined)
  socket.on('readable', look)
  socket.on('close', stop)
  socket.on('end', destroy)
  socket.on('error', ignore)
}

/** Whether the shorter of the two begins the other. */
function startsAlike(head: Uint8Array, preface: Uint8Array): boolean {
  const length = Math.min(head.length, preface.length)
  for (let i = 0; i < length; i++) if (head[i] !== preface[i]) return false
  return true
}

function ignore(): void {}
