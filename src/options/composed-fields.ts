/** Fields made of other fields: one of two kinds of value, or a value converted. */
import type { Field, Issue } from './fields.ts'

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
