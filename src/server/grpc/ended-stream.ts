/**
 * Replays `end` on streams whose empty body ended before grpc-js got them. They reach it one turn
 * of the event loop late.
 */
import type { StreamListener } from './internals.ts'

/**
 * An empty body may have ended by then, and Node emits `end` once. The wrapper calls the `end`
 * listeners that `listener` adds to such a stream.
 */
export function withEndReplayed(listener: StreamListener): StreamListener {
  return (stream, headers, flags) => {
    if (!stream.readableEnded) {
      listener(stream, headers, flags)
      return
    }
    const before = new Set(stream.listeners('end'))
    listener(stream, headers, flags)
    for (const added of stream.listeners('end')) if (!before.has(added)) added.call(stream)
  }
}
