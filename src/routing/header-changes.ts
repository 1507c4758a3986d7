/** Changes of headers: set, add, remove. */
import { isReserved, OF_CONNECTIONS, TOKEN } from '../core/headers.ts'
import { convert, entriesOf } from '../options/composed-fields.ts'
import { type Field, fields, list, optional, type Parsed, show, text } from '../options/fields.ts'
import type { OptionsOf } from '../resilience/define-policy.ts'
import type { HeaderChanges } from './settings.ts'

/** What HTTP and gRPC can both carry; gRPC knows no Latin-1 and no tab. */
const VALUE = /^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/
const NAME = /^[0-9a-z_.-]+(?<!-bin)$/

/** A header's name, in lower case. */
export const HEADER_NAME: Field<string> = convert(text('the name of a header', TOKEN, 128), (name) =>
  name.toLowerCase(),
)
export const HEADER_VALUE: Field<string> = text(
  "a header's value: printable ASCII, as HTTP and gRPC can both carry it",
  VALUE,
  1_024,
)

/** Also the length is computed per message, so none of these is for documents to change. */
export const UNCHANGEABLE: ReadonlySet<string> = new Set([...OF_CONNECTIONS, 'content-length'])

/** A header that a document may change. */
export const CHANGEABLE: Field<string> = {
  ...HEADER_NAME,
  parse(value, path, issues) {
    const before = issues.length
    const name = HEADER_NAME.parse(value, path, issues)
    if (issues.length > before) return name
    if (!NAME.test(name)) issues.push({ path, message: `${show(name)} cannot be changed: gRPC has no such header` })
    else if (name === 'host') issues.push({ path, message: "cannot be changed as a header; use 'rewrite: { host }'" })
    else if (UNCHANGEABLE.has(name))
      issues.push({ path, message: `${show(name)} belongs to the connection and cannot be changed` })
    else if (isReserved(name) || name.startsWith('x-inmesh-') || name.startsWith('grpc-')) {
      issues.push({ path, message: `${show(name)} is reserved and cannot be changed` })
    }
    return name
  },
}

const definition = fields({
  /** Replaces the header, or adds it. @defaultValue none */
  set: optional(entriesOf(CHANGEABLE, HEADER_VALUE, { max: 32 })),
  /** Adds a value beside those that are there. @defaultValue none */
  add: optional(entriesOf(CHANGEABLE, HEADER_VALUE, { max: 32 })),
  /** @defaultValue none */
  remove: optional(list(CHANGEABLE, { min: 1, max: 32 })),
})

/** Changes of the headers of requests or responses. */
export interface HeaderChangesOptions extends OptionsOf<typeof definition> {}

const NO_HEADERS: HeaderChanges['set'] = Object.freeze([])
const NO_NAMES: readonly string[] = Object.freeze([])

function settings({ set, add, remove }: Parsed<typeof definition>): HeaderChanges {
  return Object.freeze({ set: set ?? NO_HEADERS, add: add ?? NO_HEADERS, remove: remove ?? NO_NAMES })
}

const CHANGES: Field<HeaderChanges, HeaderChangesOptions> = convert(definition, settings)

const both = fields({
  /** Of requests, before they are sent. @defaultValue none */
  request: optional(CHANGES),
  /** Of responses, before the caller sees them. @defaultValue none */
  response: optional(CHANGES),
})

/** Changes of headers, of requests and of responses. */
export interface HeadersOptions extends OptionsOf<typeof both> {}
export const HEADERS: Field<Parsed<typeof both>, HeadersOptions> = both
