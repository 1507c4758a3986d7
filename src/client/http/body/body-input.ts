/** The kinds of request body that a caller may pass. */

/**
 * Bodies as users give them: those of `fetch`, Node's streams, and any iterable of bytes or text.
 */
export type BodyInput =
  | string
  | Uint8Array
  | ArrayBuffer
  | ArrayBufferView
  | Blob
  | FormData
  | URLSearchParams
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array | string>
  | Iterable<Uint8Array | string>
