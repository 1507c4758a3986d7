/** An object with exactly one of several keys, all of them optional. */
import { type Field, fields, type GivenShape, type ParsedShape, type Shape } from '../options/fields.ts'

export function oneKeyOf<S extends Shape>(shape: S): Field<ParsedShape<S>, GivenShape<S>> & { readonly shape: S } {
  const inner = fields(shape)
  const keys = Object.keys(shape)
  return {
    ...inner,
    schema: { ...inner.schema, minProperties: 1, maxProperties: 1 },
    parse(value, path, issues) {
      const before = issues.length
      const parsed = inner.parse(value, path, issues)
      if (issues.length > before) return parsed
      const given = keys.filter((key) => (parsed as Record<string, unknown>)[key] !== undefined)
      if (given.length === 1) return parsed
      const got = given.length === 0 ? 'none' : given.map((key) => `'${key}'`).join(' and ')
      issues.push({ path, message: `expected exactly one of ${keys.join(', ')}, got ${got}` })
      return parsed
    },
  }
}
