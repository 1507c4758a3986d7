/**
 * Describes options and documents once: for validation with the path of each mistake, and for the
 * published JSON Schema. Loading a schema library would cost more than the rest of `import
 * 'inmesh'` (docs/decisions/0002).
 */
import { didYouMean } from './nearest.ts'

/** One mistake: its path, and a sentence with the valid values. */
export interface Issue {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** Where a value is: names of fields, and places in lists. */
export type Path = Issue['path']

export type JsonSchema = Record<string, unknown>

/**
 * Describes and checks one value: `I` is the type that users write, `T` the one it becomes, `U` the
 * unit of `T` as a suffix of names, such as `Ms`.
 */
export interface Field<T, I = T, U extends string = ''> {
  /** Reports to `issues`; its result counts only if it reported nothing. */
  parse(value: unknown, path: Path, issues: Issue[]): T
  readonly schema: JsonSchema
  /** A missing key is no mistake. */
  readonly optional: boolean
  /** Absent: the value has no unit. */
  readonly unit?: U | undefined
  /** Never set: carries `I` in types. A function, because `I` is an input. */
  readonly given?: (given: I) => void
}

/** A field that checks into `T`, whatever users write. */
export type AnyField<T = unknown> = Field<T, never, string>

/** A field whose key may be missing. */
export type OptionalField<T, I = T, U extends string = ''> = Field<T, I, U> & { readonly optional: true }

/** The type of checked values. */
export type Parsed<F> = F extends AnyField<infer T> ? T : never

/** The type that users write. */
export type Given<F> = F extends { readonly given?: (given: infer I) => void } ? I : never

/** Invalid options. The message names every invalid field with its valid values. */
export class OptionsError extends TypeError {
  override readonly name = 'OptionsError'
  readonly code = 'invalid-options'
  readonly issues: readonly Issue[]

  constructor(what: string, issues: readonly Issue[]) {
    super(`${what}: ${issues.map((issue) => describeIssue(issue)).join('; ')}`)
    this.issues = issues
  }
}

/** `retry.attempts: expected a whole number from 1 to 10, got 0`. */
export function describeIssue(issue: Issue): string {
  return issue.path.length === 0 ? issue.message : `${formatPath(issue.path)}: ${issue.message}`
}

/** `allow[0].methods`. */
export function formatPath(path: Path): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? key : `${text}.${key}`),
    '',
  )
}

/** The part before an `@` may be a password, even outside of a URL. */
export function withoutPassword(text: string): string {
  const end = text.lastIndexOf('@')
  if (end < 0) return text
  const begin = text.indexOf('//')
  return `${begin >= 0 && begin < end ? text.slice(0, begin + 2) : ''}...${text.slice(end)}`
}

/** Tokens of the mesh are never shown, even where they were given by mistake. */
const SECRET = /(inmesh-(?:join|admin))[^"]*/g

function publicPart(text: string): string {
  return text.includes('://') ? withoutPassword(text) : text
}

/**
 * Formats a value for an error message: short, on one line, without control characters or secrets.
 */
export function show(value: unknown): string {
  let text: string
  // Truncates first: it may come from outside, and only 60 characters are shown.
  if (typeof value === 'string') text = JSON.stringify(publicPart(value).slice(0, 200))
  else if (typeof value === 'function') text = 'a function'
  else if (typeof value === 'object' && value !== null) text = showObject(value)
  else text = String(value)
  text = text.replace(SECRET, '$1.…')
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

function showObject(value: object): string {
  try {
    return Array.isArray(value) ? `a list of ${value.length}` : 'an object'
  } catch {
    // A revoked Proxy.
    return 'an object'
  }
}

function mistake(expected: string, value: unknown): string {
  return value === undefined ? `is missing; expected ${expected}` : `expected ${expected}, got ${show(value)}`
}

/** A field of one value. `expected` names the valid values in words. */
export function field<T, I = T, U extends string = ''>(
  expected: string,
  schema: JsonSchema,
  accept: (value: unknown) => T | undefined,
  unit?: U,
): Field<T, I, U> {
  return {
    optional: false,
    unit,
    schema: { ...schema, description: expected },
    parse(value, path, issues) {
      const parsed = accept(value)
      if (parsed === undefined) issues.push({ path, message: mistake(expected, value) })
      return parsed as T
    },
  }
}

export function flag(): Field<boolean> {
  return field('true or false', { type: 'boolean' }, (value) => (typeof value === 'boolean' ? value : undefined))
}

/** This value and no other. */
export function exactly<const T extends boolean>(only: T): Field<T> {
  return {
    optional: false,
    schema: { const: only },
    parse(value, path, issues) {
      if (value !== only) issues.push({ path, message: mistake(String(only), value) })
      return only
    },
  }
}

/** Text; `pattern` must be anchored and linear. `expected` describes the valid values. */
export function text(expected: string, pattern: RegExp, maxLength = 253): Field<string> {
  const schema = { type: 'string', pattern: pattern.source, maxLength }
  const accept = (value: unknown): string | undefined =>
    typeof value === 'string' && value.length <= maxLength && pattern.test(value) ? value : undefined
  const inner = field(expected, schema, accept)
  return {
    ...inner,
    parse(value, path, issues) {
      const parsed = accept(value)
      if (parsed === undefined) issues.push({ path, message: `${mistake(expected, value)}${asText(value, accept)}` })
      return parsed as string
    },
  }
}

/** For what YAML reads as another kind of value, such as `1` and `true`. */
function asText(value: unknown, accept: (text: string) => string | undefined): string {
  if (typeof value !== 'number' && typeof value !== 'boolean') return ''
  return accept(String(value)) === undefined ? '' : `; write it as text: '${value}'`
}

export function oneOf<const T extends string>(values: readonly T[]): Field<T> {
  const expected = `one of ${values.map((value) => `'${value}'`).join(', ')}`
  return {
    optional: false,
    schema: { enum: [...values], description: expected },
    parse(value, path, issues) {
      if (!values.includes(value as T)) {
        const hint = typeof value === 'string' ? didYouMean(value, values) : ''
        issues.push({ path, message: `${mistake(expected, value)}${hint}` })
      }
      return value as T
    },
  }
}

export function list<T, I>(
  item: Field<T, I, string>,
  limits: { min?: number; max: number },
): Field<readonly T[], readonly I[]> {
  const { min = 0, max } = limits
  return {
    optional: false,
    schema: { type: 'array', items: item.schema, minItems: min, maxItems: max },
    parse(value, path, issues) {
      if (!Array.isArray(value) || value.length < min || value.length > max) {
        issues.push({ path, message: mistake(`a list of ${min} to ${max} entries`, value) })
        return []
      }
      return Object.freeze(value.map((entry, i) => item.parse(entry, [...path, i], issues)))
    },
  }
}

const UNSAFE_KEYS = new Set(['__proto__', 'constructor', 'prototype'])

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** A map of short texts, such as metadata. */
export function record(limits: { maxEntries: number; maxLength: number }): Field<Readonly<Record<string, string>>> {
  const { maxEntries, maxLength } = limits
  const expected = `an object of at most ${maxEntries} texts of at most ${maxLength} characters`
  return {
    optional: false,
    schema: { type: 'object', maxProperties: maxEntries, additionalProperties: { type: 'string', maxLength } },
    parse(value, path, issues) {
      const copy: Record<string, string> = Object.create(null)
      if (!isPlainObject(value) || Object.keys(value).length > maxEntries) {
        issues.push({ path, message: mistake(expected, value) })
        return copy
      }
      for (const [key, entry] of Object.entries(value)) {
        if (UNSAFE_KEYS.has(key) || key.length > 128 || typeof entry !== 'string' || entry.length > maxLength) {
          issues.push({ path: [...path, key], message: mistake(`text of at most ${maxLength} characters`, entry) })
        } else copy[key] = entry
      }
      return Object.freeze(copy)
    },
  }
}

/** The fields of an object, by key. */
export type Shape = Readonly<Record<string, AnyField>>
export type ParsedShape<S extends Shape> = { readonly [K in keyof S]: Parsed<S[K]> }

type OptionalKey<S extends Shape> = {
  [K in keyof S]: S[K] extends { readonly optional: true } ? K : never
}[keyof S]
type Givens<S> = { readonly [K in keyof S]: Given<S[K]> }
/** The object that users write. By `Pick`, because then its keys keep their documentation. */
export type GivenShape<S extends Shape> = Givens<Pick<S, Exclude<keyof S, OptionalKey<S>>>> &
  Partial<Givens<Pick<S, OptionalKey<S>>>>

/**
 * An object with exactly these keys. An unknown key is a mistake; the message suggests the nearest
 * valid name.
 */
export function fields<S extends Shape>(shape: S): Field<ParsedShape<S>, GivenShape<S>> & { readonly shape: S } {
  const keys = Object.keys(shape)
  return {
    optional: false,
    shape,
    schema: {
      type: 'object',
      additionalProperties: false,
      required: keys.filter((key) => !shape[key]!.optional),
      properties: Object.fromEntries(keys.map((key) => [key, shape[key]!.schema])),
    },
    parse(value, path, issues) {
      const parsed: Record<string, unknown> = {}
      if (!isPlainObject(value)) {
        issues.push({ path, message: mistake(`an object with ${keys.join(', ')}`, value) })
        return parsed as ParsedShape<S>
      }
      for (const key of Object.keys(value)) {
        if (!Object.hasOwn(shape, key)) {
          issues.push({ path: [...path, key], message: unknownKey(key, keys) })
        }
      }
      for (const key of keys) {
        const inner = shape[key]!
        const given = Object.hasOwn(value, key) ? value[key] : undefined
        parsed[key] =
          given === undefined && inner.optional
            ? inner.parse(undefined, path, issues)
            : inner.parse(given, [...path, key], issues)
      }
      return Object.freeze(parsed) as ParsedShape<S>
    },
  }
}

/** The message about a key that is none of `valid`. */
export function unknownKey(key: string, valid: readonly string[]): string {
  return `unknown key${didYouMean(key, valid) || `; valid keys are ${valid.join(', ')}`}`
}

/** A missing key becomes `undefined`. */
export function optional<T, I = T, U extends string = ''>(inner: Field<T, I, U>): OptionalField<T | undefined, I, U> {
  return {
    optional: true,
    schema: inner.schema,
    unit: inner.unit,
    parse: (value, path, issues) => (value === undefined ? undefined : inner.parse(value, path, issues)),
  }
}

/**
 * A missing key becomes `fallback`, given as users write it. The schema publishes `shown`.
 *
 * @throws OptionsError if `fallback` is invalid
 */
export function withDefault<T, I = T, U extends string = ''>(
  inner: Field<T, I, U>,
  fallback: NoInfer<I>,
  shown: unknown = fallback,
): OptionalField<T, I, U> {
  const value = check(inner, fallback, 'default')
  return {
    optional: true,
    schema: { ...inner.schema, default: shown },
    unit: inner.unit,
    parse: (given, path, issues) => (given === undefined ? value : inner.parse(given, path, issues)),
  }
}

/** For values that only code can give: functions, clocks, filters. */
export function instance<T>(expected: string, accept: (value: unknown) => boolean): Field<T> {
  return field(expected, {}, (value) => (accept(value) ? (value as T) : undefined))
}

/**
 * Validates `value` (`undefined` is an empty object), or throws one {@link OptionsError} that names
 * every mistake. `what` begins the message.
 */
export function check<T>(description: AnyField<T>, value: unknown, what: string): T {
  const issues: Issue[] = []
  const parsed = description.parse(value === undefined ? {} : value, [], issues)
  if (issues.length > 0) throw new OptionsError(what, issues)
  return parsed
}
