/** The other parts of a session, as its receiving half sees them. */
import type { FloodGuard } from './flood-guard.ts'
import type { ReceiveWindow } from './receive-window.ts'
import type { SendQueue } from './send-queue.ts'
import type { SessionEvents } from './session-events.ts'
import type { PeerSettings } from './settings.ts'
import type { MuxStream } from './stream.ts'
import type { StreamTable } from './stream-table.ts'
import type { GoAwayCode, ResetCode } from './wire.ts'

/** The session, as the frames of the peer change it. */
export interface InboundHost {
  readonly side: 'client' | 'server'
  readonly events: SessionEvents
  readonly streams: StreamTable
  readonly settled: boolean
  readonly window: ReceiveWindow
  readonly guard: FloodGuard
  readonly send: SendQueue
  /** A request opens a stream. */
  opened(id: number): MuxStream
  closeIfEnded(stream: MuxStream): void
  resetUnowned(id: number, code: ResetCode, reason: string): void
  credit(charge: number): void
  pingAnswered(bytes: Buffer, from: number): void
  peerSettled(settings: PeerSettings): void
  peerLeaves(lastStream: number, code: number, reason: string): void
  breakOff(code: GoAwayCode, reason: string): void
}
