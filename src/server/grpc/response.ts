/** Answers that the server sends without grpc-js. */
import type { ServedStream } from './served-stream.ts'

/** Sends a trailers-only response. `more`: metadata. */
export function respond(
  stream: ServedStream,
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
  // Discards what the caller still sends, so that it does not fill its flow-control window.
  stream.resume()
}
