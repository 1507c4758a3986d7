/** HTTP/2 streams that are handed on a turn of the loop after they came. */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'

export type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number) => void

/**
 * `listener` for streams that come late. A body without a byte may have ended by then, and Node
 * does not tell that twice: what the listener adds to hear of the end is told at once.
 */
export function withEndReplayed(listener: StreamListener): StreamListener {
  return (stream, headers, flags) => {
    if (!stream.readableEnded) {
      listener(stream, headers, flags)
      return
    }
    const before = new Set(stream.listeners('end'))
    listener(stream, headers, flags)
    for (const heard of stream.listeners('end')) if (!before.has(heard)) heard.call(stream)
  }
}
