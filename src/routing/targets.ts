/** Subsets, and what sends to them: targets, splits and mirrors. */
import { TOKEN } from '../core/headers.ts'
import { byKind, convert, entriesOf, oneOrList } from '../options/composed-fields.ts'
import { exactly, type Field, fields, list, optional, type Parsed, text, withDefault } from '../options/fields.ts'
import { SERVICE_NAME } from '../options/names.ts'
import { integer, share } from '../options/quantities.ts'
import type { OptionsOf } from '../resilience/define-policy.ts'
import { HEADER_NAME, HEADERS } from './header-changes.ts'
import { oneKeyOf } from './one-key.ts'
import type { StickySettings, SubsetSettings } from './settings.ts'

export const SUBSET_NAME: Field<string> = text(
  "the name of a subset: 1 to 63 lower-case letters, digits and '-', neither first nor last a '-'",
  SERVICE_NAME,
  63,
)
const OTHER_SERVICE = text('the name of a service', SERVICE_NAME, 63)

const METADATA_KEY = text('a key of metadata, of 1 to 128 characters', /^\P{Cc}+$/u, 128)
/** As long as a text of an instance's metadata. */
export const METADATA = entriesOf(METADATA_KEY, text('a value of metadata', /^\P{Cc}*$/u, 512), { max: 16 })

const subset = fields({
  /** The version that an instance registers. @defaultValue any */
  version: optional(text('the version of an instance', /^[\x21-\x7e]+$/, 128)),
  /** Metadata that an instance registers: all these keys, with these values. @defaultValue any */
  metadata: optional(METADATA),
})

/** A named group of instances: those that fulfil both conditions. */
export interface SubsetOfOptions extends OptionsOf<typeof subset> {}

const NO_METADATA: SubsetSettings['metadata'] = Object.freeze([])

const SUBSET: Field<Omit<SubsetSettings, 'name'>, SubsetOfOptions> = {
  optional: false,
  schema: { ...subset.schema, minProperties: 1 },
  parse(value, path, issues) {
    const before = issues.length
    const { version, metadata } = subset.parse(value, path, issues)
    if (issues.length === before && version === undefined && metadata === undefined) {
      issues.push({ path, message: 'is empty; expected at least one of version, metadata' })
    }
    return { version, metadata: metadata ?? NO_METADATA }
  },
}

export const SUBSETS = convert(
  entriesOf(SUBSET_NAME, SUBSET, { max: 100 }),
  (entries): ReadonlyMap<string, SubsetSettings> =>
    Object.freeze(new Map(entries.map(([name, conditions]) => [name, Object.freeze({ name, ...conditions })]))),
)

const TARGET_KEYS = {
  /** A subset of the service, or of `service`. @defaultValue all endpoints */
  subset: optional(SUBSET_NAME),
  /** Another service. @defaultValue the service of the document */
  service: optional(OTHER_SERVICE),
  /** `true`: there is no such target, and its calls fail at once. @defaultValue it exists */
  missing: optional(exactly(true)),
} as const

const target = fields(TARGET_KEYS)
/** A subset, another service, or both. */
export interface TargetOptions extends OptionsOf<typeof target> {}
export type GivenTarget = Parsed<typeof target>

const TARGET: Field<GivenTarget, TargetOptions> = {
  ...target,
  schema: { ...target.schema, minProperties: 1 },
  parse(value, path, issues) {
    const before = issues.length
    const parsed = target.parse(value, path, issues)
    if (issues.length === before && Object.values(parsed).every((given) => given === undefined)) {
      issues.push({ path, message: 'is empty; expected at least one of subset, service' })
    }
    return parsed
  },
}

/** Text is the name of a subset. */
export const TO: Field<GivenTarget, string | TargetOptions> = byKind({
  text: convert(SUBSET_NAME, (name): GivenTarget => ({ subset: name, service: undefined, missing: undefined })),
  object: TARGET,
})

const shareOfSplit = fields({
  to: TO,
  /** A whole number; the share is that of the sum. */
  weight: integer({ min: 0, max: 1_000_000 }),
  /** Changes of headers, after those of the route. @defaultValue none */
  headers: optional(HEADERS),
})
/** One target of a split. */
export interface SplitTargetOptions extends OptionsOf<typeof shareOfSplit> {}
export type GivenShare = Parsed<typeof shareOfSplit>
const SHARE: Field<GivenShare, SplitTargetOptions> = shareOfSplit
export const SPLIT = list(SHARE, { min: 1, max: 20 })

const mirror = fields({
  to: TO,
  /** Share of the calls of the route that are copied. @defaultValue `'100%'` */
  share: withDefault(share(), '100%'),
})
/** A copy of requests, whose answer is dropped. */
export interface MirrorOptions extends OptionsOf<typeof mirror> {}
export type GivenMirror = Parsed<typeof mirror>
const ONE_MIRROR: Field<GivenMirror, MirrorOptions> = mirror
export const MIRRORS = oneOrList(ONE_MIRROR, { max: 5 })

const sticky = oneKeyOf({
  /** The value of this request header. */
  header: optional(HEADER_NAME),
  /** The value of this cookie of the request. */
  cookie: optional(text('the name of a cookie', TOKEN, 128)),
  /** The first value of this query parameter. */
  query: optional(text('the name of a query parameter', /^\P{Cc}+$/u, 256)),
  /** The value of this member of the baggage. */
  baggage: optional(text('the name of a member of baggage', TOKEN, 128)),
})
/** The part of a request that decides between the targets of a split; exactly one. */
export interface StickyOptions extends OptionsOf<typeof sticky> {}

const SOURCES = ['header', 'cookie', 'query', 'baggage'] as const
export const STICKY: Field<StickySettings, StickyOptions> = convert(sticky, (given) => {
  const from = SOURCES.find((source) => given[source] !== undefined)!
  return Object.freeze({ from, name: given[from]! })
})
