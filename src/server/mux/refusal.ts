/** The answer to a refused peer of `inmesh/1`: a GOAWAY for all its streams. */
import { FrameWriter, releasePiece } from '../../mux/frame-writer.ts'
import { GOAWAY } from '../../mux/wire.ts'
import { identityRefusal } from '../../net/identity-refusal.ts'
import type { RefusalAnswer } from '../lingering-close.ts'

export function refuseMux(reason: string): RefusalAnswer {
  const writer = new FrameWriter(() => {})
  writer.goAway(0, GOAWAY.IDENTITY_REFUSED, identityRefusal(reason))
  const { at } = writer
  const piece = writer.take()!
  const last = Buffer.from(piece.subarray(0, at))
  releasePiece(piece)
  return { last }
}
