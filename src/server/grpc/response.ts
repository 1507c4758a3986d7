/** Answers of the server's own, in grpc-js's place. */
import type { ServerHttp2Stream } from 'node:http2'

/** With trailers only. `more` is metadata. */
export function respond(
  stream: ServerHttp2Stream,
  status: number,
  message: string,
  more: Readonly<Record<string, string>> = {},
): void {
  if (stream.destroyed || stream.closed || stream.headersSent) return
  stream.respond(
    {
      ':status': 200,
      'content-type': 'application/grpc+proto',
      'grpc-status': String(status),
      'grpc-message': encodeURIComponent(message),
      ...more,
    },
    { endStream: true },
  )
  // What the caller still sends is not wanted, and must not hold its window.
  stream.resume()
}
