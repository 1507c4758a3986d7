/**
 * Recognizes bodies from another realm, another copy of undici or a polyfill. They are sent as
 * their brand says, or refused.
 */
import { types } from 'node:util'
import { OptionsError } from '../../../options/fields.ts'
import type { BodyInput } from './body-input.ts'

/** Iterables whose parts are no bytes. */
const NO_BODIES: ReadonlySet<string> = new Set(['Headers', 'Map', 'Set', 'Map Iterator', 'Set Iterator'])

interface Form {
  entries(): Iterable<[name: string, value: unknown]>
}

interface ForeignBlob {
  readonly size: number
  readonly type: string
  stream?(): unknown
  arrayBuffer?(): Promise<ArrayBuffer>
}

interface ForeignStream {
  getReader(): { read(): Promise<{ done: boolean; value?: unknown }>; cancel(reason?: unknown): Promise<unknown> }
}

/** Bytes whose number is known although they are read one part after the other. */
export interface SizedBody {
  open(): AsyncIterable<Uint8Array | string>
  readonly type: string
  readonly size: number
}

/**
 * What `body` stands for, in our own terms; `undefined` if it is no such body.
 * @throws OptionsError for what can only be sent as something else
 */
export function adoptBody(body: object): BodyInput | SizedBody | undefined {
  if (types.isAnyArrayBuffer(body)) return new Uint8Array(body)
  const tag = (body as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag]
  if (tag === 'URLSearchParams') return new URLSearchParams(String(body))
  if (tag === 'FormData' && typeof (body as Partial<Form>).entries === 'function') return adoptForm(body as Form)
  if (tag === 'Blob' || tag === 'File') return adoptBlob(body as ForeignBlob)
  if (isReadable(body)) return partsOf(body)
  if (tag === 'FormData' || NO_BODIES.has(tag as string)) throw unsendable(`an object of the kind ${tag}`)
  return undefined
}

export function isSized(body: BodyInput | SizedBody): body is SizedBody {
  return typeof body === 'object' && 'open' in body && 'size' in body
}

function adoptForm(form: Form): FormData {
  const own = new FormData()
  for (const [name, value] of form.entries()) {
    if (typeof value === 'string') own.append(name, value)
    else if (value instanceof Blob) own.append(name, value, (value as File).name ?? 'blob')
    else
      throw unsendable(`a form whose field '${name}' is a file of another implementation; pass Node's own Blob or File`)
  }
  return own
}

function adoptBlob(blob: ForeignBlob): SizedBody {
  const type = typeof blob.type === 'string' ? blob.type : ''
  if (typeof blob.arrayBuffer !== 'function') throw unsendable("a Blob without arrayBuffer(); pass Node's own Blob")
  async function* bytes(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(await blob.arrayBuffer!())
  }
  return { open: bytes, type, size: blob.size }
}

function isReadable(body: object): body is ForeignStream {
  return typeof (body as Partial<ForeignStream>).getReader === 'function' && !(Symbol.asyncIterator in body)
}

async function* partsOf(stream: ForeignStream): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader()
  let done = false
  try {
    for (;;) {
      const part = await reader.read()
      done = part.done
      if (done) return
      yield part.value as Uint8Array
    }
  } finally {
    if (!done) await reader.cancel()
  }
}

function unsendable(what: string): OptionsError {
  return new OptionsError('request', [
    { path: ['body'], message: `expected text, bytes, a Blob, a form, a stream or an iterable of bytes, got ${what}` },
  ])
}
