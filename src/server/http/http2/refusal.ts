/** The answer to a refused client of HTTP/2 on the port of an HTTP server, as over HTTP/1.1. */
import { NOT_EXECUTED } from '../../../core/headers.ts'
import { identityRefusal } from '../../../net/identity-refusal.ts'
import { headerBlock, refuseStreams } from '../../http2/refusal.ts'
import type { RefusalAnswer } from '../../lingering-close.ts'
import type { Stranger } from '../../stranger.ts'

export function refuseRequests(stranger: Stranger): RefusalAnswer {
  const { reason, notice } = stranger
  const text = Buffer.from(`${notice}\n`)
  // Without a length, because the answer to HEAD may lose its body.
  const head = headerBlock([
    [':status', reason === 'plaintext' ? '400' : '403'],
    [NOT_EXECUTED, identityRefusal(reason)],
    ['content-type', 'text/plain; charset=utf-8'],
  ])
  return refuseStreams(stranger, head, text)
}
