/**
 * The conditions on a path: exact, with `{segment}` and a final `/*`, by a prefix of whole
 * segments, or by a regular expression.
 */

import { normalPath } from '../net/request-path.ts'
import { byKind, convert } from '../options/composed-fields.ts'
import { type Field, type Issue, optional, show, text } from '../options/fields.ts'
import { oneKeyOf } from './one-key.ts'
import { REGEX } from './value-match.ts'

/** Compares the segments of a path in their normal form. */
export interface SegmentPattern {
  readonly kind: 'segments'
  /** `undefined`: any segment of at least one character. `/` is one empty segment. */
  readonly segments: readonly (string | undefined)[]
  /** The names of the segments that are `undefined`, in their order. */
  readonly names: readonly string[]
  /** `rest`: at least one character follows. `prefix`: the path ends here, or a `/` follows. */
  readonly end: 'exact' | 'rest' | 'prefix'
}

/** Whether every path matches, also one that cannot be compared. */
export function isWhole({ segments, end }: SegmentPattern): boolean {
  return end === 'prefix' && segments.length === 0
}

/** Compares the whole path. */
export interface RegexPattern {
  readonly kind: 'regex'
  readonly source: string
}

export type PathPattern = SegmentPattern | RegexPattern

const LONGEST = 1_024
const SEGMENT = `(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})`
const PATH = new RegExp(String.raw`^(?:/(?!\.{1,2}(?:/|$))${SEGMENT}+)*/?$`)
const TEMPLATE = new RegExp(
  String.raw`^(?=/)(?:/(?!\.{1,2}(?:/|$))(?:${SEGMENT.replace('*', '')}+|\{[A-Za-z_][A-Za-z0-9_]{0,63}\}))*(?:/\*?)?$`,
)

/** The segments of `path` in their normal form; `undefined` if servers refuse such a path. */
function literal(path: string): readonly string[] | undefined {
  return normalPath(path)?.split('/').slice(1)
}

function pattern(path: string, end: SegmentPattern['end']): SegmentPattern | undefined {
  const segments = literal(path)
  return segments && Object.freeze({ kind: 'segments', segments: Object.freeze(segments), names: NO_NAMES, end })
}

const NO_NAMES: readonly string[] = Object.freeze([])

function template(path: string): SegmentPattern | undefined {
  const names: string[] = []
  const rest = path.endsWith('/*')
  const given = (rest ? path.slice(0, -2) : path).replace(/\{(\w+)\}/g, (_whole, name: string) => {
    names.push(name)
    return '*'
  })
  if (rest && given === '') return REST
  const segments = literal(given)?.map((segment) => (segment === '*' ? undefined : segment))
  if (segments === undefined) return undefined
  return Object.freeze({
    kind: 'segments',
    segments: Object.freeze(segments),
    names: Object.freeze(names),
    end: rest ? 'rest' : 'exact',
  })
}

const REST: SegmentPattern = Object.freeze({
  kind: 'segments',
  segments: Object.freeze([]),
  names: NO_NAMES,
  end: 'rest',
})

/** Like `text`, then to segments. */
function readable(given: Field<string>, to: (path: string) => SegmentPattern | undefined): Field<PathPattern, string> {
  return {
    ...given,
    parse(value, path, issues: Issue[]) {
      const before = issues.length
      const written = given.parse(value, path, issues)
      const parsed = issues.length === before ? to(written) : undefined
      if (parsed === undefined && issues.length === before) {
        issues.push({
          path,
          message: `expected a path without escaped '/', '.', '\\' or control characters, got ${show(value)}`,
        })
      }
      return parsed!
    },
  }
}

/** A prefix ends without a slash: `/items/` is `/items`. */
const withoutSlash = (path: string) => (path.endsWith('/') ? path.slice(0, -1) : path)
const WHOLE: SegmentPattern = Object.freeze({
  kind: 'segments',
  segments: Object.freeze([]),
  names: NO_NAMES,
  end: 'prefix',
})

const FORMS = oneKeyOf({
  /** This path and no other; `*` and `{` have no meaning. */
  exact: optional(
    readable(text("a path such as '/items', without query", PATH, LONGEST), (path) => pattern(path, 'exact')),
  ),
  /** This path, and all below it. */
  prefix: optional(
    readable(text("a path such as '/items', without query", PATH, LONGEST), (path) =>
      withoutSlash(path) === '' ? WHOLE : pattern(withoutSlash(path), 'prefix'),
    ),
  ),
  /** For the whole path, in RE2's syntax. */
  regex: optional(convert(REGEX, (source): PathPattern => Object.freeze({ kind: 'regex', source }))),
})

/** How users write a path: text, or `exact`, `prefix` or `regex`. */
export const PATH_PATTERN = byKind({
  text: readable(
    text(
      "a path such as '/items/42', '/items/{id}' (any segment) or '/items/*' (any rest); no query",
      TEMPLATE,
      LONGEST,
    ),
    template,
  ),
  object: convert(FORMS, (given) => (given.exact ?? given.prefix ?? given.regex)!),
})
