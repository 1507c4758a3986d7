/**
 * The answer to a refused client of HTTP/2: 403 for each request of its first flight, as over
 * HTTP/1.1, then a GOAWAY. Frames are counted, and no byte of a request is parsed.
 */
import { constants } from 'node:http2'
import { NOT_EXECUTED } from '../../../core/headers.ts'
import { identityRefusal } from '../../../net/identity-refusal.ts'
import { ACK, FrameHeads, frame, goaway, TYPE } from '../../http2/refusal.ts'
import type { RefusalAnswer } from '../../lingering-close.ts'

/** What clients open before they have our SETTINGS. */
const MOST_ANSWERED = 100
const END_STREAM = 1
const END_HEADERS = 4
const NOTHING = Buffer.alloc(0)

export function refuseRequests(reason: string): RefusalAnswer {
  const frames = new FrameHeads()
  const streams = new Set<number>()
  let lastStream = 0
  return {
    first: frame(TYPE.settings, NOTHING),
    mayFollow: (input) => {
      frames.find(input, (type, _flags, stream) => {
        if (type !== TYPE.headers || streams.size >= MOST_ANSWERED) return false
        streams.add(stream)
        lastStream = Math.max(lastStream, stream)
        return false
      })
      return streams.size > 0
    },
    last: () => {
      const code = lastStream === 0 ? constants.NGHTTP2_REFUSED_STREAM : constants.NGHTTP2_NO_ERROR
      const head = headOf(reason)
      const answers = [...streams].map((stream) => frame(TYPE.headers, head, END_STREAM | END_HEADERS, stream))
      return Buffer.concat([frame(TYPE.settings, NOTHING, ACK), ...answers, goaway(reason, lastStream, code)])
    },
  }
}

/** Literals without indexing (RFC 7541, 6.2.2), so that no state is shared. */
function headOf(reason: string): Buffer {
  const literal = (text: string): Buffer => Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'latin1')])
  return Buffer.concat([
    Buffer.from([STATUS]),
    literal('403'),
    Buffer.from(CONTENT_LENGTH),
    literal('0'),
    Buffer.from([0]),
    literal(NOT_EXECUTED),
    literal(identityRefusal(reason)),
  ])
}

/** Places in the static table: 8 and 28. */
const STATUS = 8
const CONTENT_LENGTH = [15, 13]
