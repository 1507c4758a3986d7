/** Fields made of other fields: one of two kinds of value, or a value converted. */
import { type Field, type Issue, list, show } from './fields.ts'

/** Takes the first alternative without a mistake; otherwise the message is the second's. */
export function either<A, B, IA = A, IB = B, U extends string = ''>(
  first: Field<A, IA, string>,
  second: Field<B, IB, U>,
): Field<A | B, IA | IB, U> {
  return {
    optional: false,
    schema: { anyOf: [first.schema, second.schema] },
    unit: second.unit,
    parse(value, path, issues) {
      const tried: Issue[] = []
      const parsed = first.parse(value, path, tried)
      if (tried.length === 0) return parsed
      const otherwise: Issue[] = []
      const other = second.parse(value, path, otherwise)
      for (const issue of otherwise) {
        // For a value of another kind, the message also names the one valid alternative.
        const only = issue.path.length === path.length ? first.schema.const : undefined
        issues.push(only === undefined ? issue : { path, message: `${issue.message}; ${only} is valid, too` })
      }
      return other
    },
  }
}

/** Checks like `inner`, then converts: what users write stays the same. */
export function convert<T, I, U extends string, R>(inner: Field<T, I, U>, to: (value: T) => R): Field<R, I, U> {
  return {
    optional: inner.optional,
    schema: inner.schema,
    unit: inner.unit,
    parse(value, path, issues) {
      const before = issues.length
      const parsed = inner.parse(value, path, issues)
      return issues.length === before ? to(parsed) : (undefined as R)
    },
  }
}

/** The kinds of value that {@link byKind} tells apart. */
interface Kinds<T, O, L, IT, IO, IL> {
  readonly text: Field<T, IT, string>
  readonly object?: Field<O, IO, string>
  readonly list?: Field<L, IL, string>
}

/**
 * Chooses the field by the kind of the value, so that messages are in terms of that kind. Text
 * takes what is neither an object nor a list.
 */
export function byKind<T, O = never, L = never, IT = T, IO = O, IL = L>(
  kinds: Kinds<T, O, L, IT, IO, IL>,
): Field<T | O | L, IT | IO | IL> {
  const { text, object, list } = kinds
  return {
    optional: false,
    schema: { anyOf: [text, object, list].flatMap((kind) => (kind === undefined ? [] : [kind.schema])) },
    parse(value, path, issues) {
      if (list !== undefined && Array.isArray(value)) return list.parse(value, path, issues)
      if (object !== undefined && typeof value === 'object' && value !== null) return object.parse(value, path, issues)
      return text.parse(value, path, issues)
    },
  }
}

/** One value, or a list of 1 to `max`; becomes a list. */
export function oneOrList<T, I>(
  item: Field<T, I, string>,
  limits: { max: number },
): Field<readonly T[], I | readonly I[]> {
  const several = list(item, { min: 1, max: limits.max })
  return {
    optional: false,
    schema: { anyOf: [item.schema, several.schema] },
    parse(value, path, issues) {
      if (Array.isArray(value)) return several.parse(value, path, issues)
      return Object.freeze([item.parse(value, path, issues)])
    },
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** An object of keys that `name` takes, with values that `item` takes; becomes a list of pairs. */
export function entriesOf<T, I>(
  name: Field<string>,
  item: Field<T, I, string>,
  limits: { max: number },
): Field<readonly (readonly [string, T])[], Readonly<Record<string, I>>> {
  const { max } = limits
  return {
    optional: false,
    schema: {
      type: 'object',
      minProperties: 1,
      maxProperties: max,
      propertyNames: name.schema,
      additionalProperties: item.schema,
    },
    parse(value, path, issues) {
      const keys = isObject(value) ? Object.keys(value) : []
      if (keys.length === 0 || keys.length > max) {
        const got = keys.length > 0 ? `${keys.length} entries` : isObject(value) ? 'an empty object' : show(value)
        issues.push({ path, message: `expected an object of 1 to ${max} entries, got ${got}` })
        return []
      }
      const first = new Map<string, string>()
      const entries = keys.map((key) => {
        const at = [...path, key]
        const parsed = name.parse(key, at, issues)
        const before = first.get(parsed)
        if (before !== undefined) issues.push({ path: at, message: `is the same name as '${before}'` })
        first.set(parsed, key)
        return Object.freeze([parsed, item.parse((value as Record<string, unknown>)[key], at, issues)] as const)
      })
      return Object.freeze(entries)
    },
  }
}
