/**
 * Converts a caller's body to bytes or a repeatable body, which every attempt can send. Streams can
 * be sent only once.
 */
import { isAnyArrayBuffer, isStringObject, isUint8Array } from 'node:util/types'
import { OptionsError, show } from '../../../options/fields.ts'
import type { BodyInput } from './body-input.ts'
import { adoptBody, isSized } from './foreign.ts'
import { encodeForm } from './multipart-form.ts'
import { RepeatableBody } from './repeatable.ts'
import { checkUnused, isChunk, StreamedBody } from './streamed.ts'

/** A body ready to send, and the content type that follows from its kind. */
export interface RequestBody {
  readonly content: Uint8Array | StreamedBody | RepeatableBody
  readonly contentType: string | undefined
  /** Of a stream whose length is known beforehand. */
  readonly length?: number
}

/**
 * Any body as `fetch` and undici know them; `undefined` and `null`: none. Bytes are copied, because
 * their owner may use the buffer again while a retry is still to come.
 * @throws OptionsError for anything else.
 */
export function requestBody(body: BodyInput | null | undefined): RequestBody | undefined {
  if (body === undefined || body === null) return undefined
  if (typeof body === 'string') return { content: Buffer.from(body), contentType: 'text/plain;charset=UTF-8' }
  checkAttached(body)
  if (isUint8Array(body)) return { content: Buffer.from(body), contentType: undefined }
  if (isAnyArrayBuffer(body)) return { content: Buffer.from(new Uint8Array(body)), contentType: undefined }
  if (ArrayBuffer.isView(body)) {
    const bytes = new Uint8Array(body.buffer, body.byteOffset, body.byteLength)
    return { content: Buffer.from(bytes), contentType: undefined }
  }
  if (body instanceof URLSearchParams) {
    return { content: Buffer.from(body.toString()), contentType: 'application/x-www-form-urlencoded;charset=UTF-8' }
  }
  if (body instanceof FormData) {
    const { blob, contentType } = encodeForm(body)
    return { content: new RepeatableBody(() => blob.stream()), contentType, length: blob.size }
  }
  if (body instanceof Blob) {
    const contentType = body.type === '' ? undefined : body.type
    return { content: new RepeatableBody(() => body.stream()), contentType, length: body.size }
  }
  if (Array.isArray(body)) return listBody(body)
  // By its characters it would be sent in as many chunks.
  if (isStringObject(body)) return requestBody(body.valueOf())
  const adopted = typeof body === 'object' && !(body instanceof ReadableStream) ? adoptBody(body) : undefined
  if (adopted !== undefined) {
    if (!isSized(adopted)) return requestBody(adopted)
    const contentType = adopted.type === '' ? undefined : adopted.type
    return { content: new RepeatableBody(adopted.open), contentType, length: adopted.size }
  }
  if (typeof body === 'object' && (Symbol.asyncIterator in body || Symbol.iterator in body)) {
    checkUnused(body)
    return { content: new StreamedBody(body), contentType: undefined }
  }
  throw new OptionsError('request', [
    { path: ['body'], message: `expected text, bytes, a Blob, a form, a stream or an iterable, got ${show(body)}` },
  ])
}

/**
 * @throws OptionsError for bytes that were transferred to somebody else, and would be sent as none
 */
function checkAttached(body: object): void {
  const { byteLength, buffer = body } = body as Partial<ArrayBufferView>
  if (byteLength === 0 && (buffer as { detached?: unknown }).detached === true) {
    throw new OptionsError('request', [{ path: ['body'], message: 'its bytes were transferred elsewhere' }])
  }
}

/** Its parts are all there: their length is known, and they can be sent again. */
function listBody(given: readonly unknown[]): RequestBody {
  let length = 0
  const parts = Array.from(given, (part, i) => {
    if (!isChunk(part)) {
      throw new OptionsError('request', [
        { path: ['body', i], message: `expected text or bytes (string, Uint8Array), got ${show(part)}` },
      ])
    }
    const bytes = Buffer.from(part as string)
    length += bytes.length
    return bytes
  })
  return { content: new RepeatableBody(() => parts), contentType: undefined, length }
}

/** A value as JSON. @throws OptionsError if it has no JSON form. */
export function jsonBody(value: unknown): RequestBody {
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch (error) {
    throw new OptionsError('request', [
      { path: ['json'], message: `expected a value with a JSON form: ${(error as Error).message}` },
    ])
  }
  if (json === undefined) {
    throw new OptionsError('request', [
      { path: ['json'], message: `expected a value with a JSON form, got ${show(value)}` },
    ])
  }
  return { content: Buffer.from(json), contentType: 'application/json' }
}
