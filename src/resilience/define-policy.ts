/**
 * Defines a policy once: each option with its field, default and documentation. Types, checks,
 * settings, JSON Schema and the table of the policy's page follow (decision 0021).
 */

import { either } from '../options/composed-fields.ts'
import {
  type AnyField,
  check,
  exactly,
  type Field,
  fields,
  flag,
  type GivenShape,
  type OptionalField,
  type Parsed,
  type ParsedShape,
  type Shape,
} from '../options/fields.ts'

/** A policy with the options `O` that users write and the settings `S` that they become. */
export interface PolicyDefinition<O, S> extends Field<S, O> {
  /** Begins messages of {@link resolve}. */
  readonly name: string
  readonly shape: Shape
  /** The settings without any option; `undefined` if an option is required. */
  readonly defaults: Defaults<O, S>
  /** Validates options and completes them. @throws OptionsError naming each wrong field. */
  resolve(options?: O, what?: string): S
}

type Defaults<O, S> = Partial<O> extends O ? S : undefined

/** A definition that still knows its fields, to be spread into larger ones. */
export interface DefinedPolicy<F extends Shape, S> extends PolicyDefinition<GivenShape<F>, S> {
  readonly shape: F
  /** From checked values to settings. */
  settings(values: ParsedShape<F>): S
}

/** A setting is named by its option and its unit: `window` in ms becomes `windowMs`. */
export type SettingsOfShape<F extends Shape> = {
  readonly [K in keyof F & string as `${K}${UnitOf<F[K]>}`]: Parsed<F[K]>
}
type UnitOf<F> = F extends { readonly unit?: infer U } ? (U extends string ? U : never) : ''

/** The options of a definition, with the documentation of each key. */
export type OptionsOf<D extends { readonly shape: Shape }> = GivenShape<D['shape']>
/** The settings of a definition. */
export type SettingsOf<D> = D extends { settings(values: never): infer S } ? S : never

/**
 * @param complete - fits settings to each other, or to the form that the policy needs; not called
 * for invalid options
 * @example
 * ```ts
 * const definition = definePolicy('backoff', {
 *   // A TSDoc comment: Upper bound of the first wait. @defaultValue `'25ms'` (gRFC A44)
 *   base: withDefault(duration({ max: 60_000 }), '25ms'),
 * })
 * export interface BackoffOptions extends OptionsOf<typeof definition> {}
 * export interface BackoffSettings extends SettingsOf<typeof definition> {} // { baseMs: number }
 * export const BACKOFF: PolicyDefinition<BackoffOptions, BackoffSettings> = definition
 * ```
 */
export function definePolicy<F extends Shape, S = SettingsOfShape<F>>(
  name: string,
  shape: F,
  complete?: (settings: SettingsOfShape<F>) => S,
): DefinedPolicy<F, S> {
  const options = fields(shape)
  const names = Object.entries(shape).map(([key, { unit }]) => [key, `${key}${unit ?? ''}`] as const)
  const settings = (values: ParsedShape<F>): S => {
    const named: Record<string, unknown> = {}
    for (const [key, setting] of names) named[setting] = values[key]
    return Object.freeze(complete === undefined ? (named as S) : complete(named as SettingsOfShape<F>))
  }
  const definition: AnyField<S> = {
    optional: false,
    schema: options.schema,
    parse(value, path, issues) {
      const before = issues.length
      const values = options.parse(value, path, issues)
      return issues.length === before ? settings(values) : (undefined as S)
    },
  }
  const allOptional = Object.values(shape).every((field) => field.optional)
  return {
    ...definition,
    name,
    shape,
    settings,
    defaults: (allOptional ? check(definition, {}, name) : undefined) as Defaults<GivenShape<F>, S>,
    resolve: (given, what = name) => check(definition, given, what),
  } as DefinedPolicy<F, S>
}

/** A policy that is in force with its defaults, or with the options given. */
export function alwaysOn<O, S>(policy: PolicyDefinition<O, S>): OptionalField<S, O> {
  return absentBecomes(policy, policy.defaults as S)
}

/** A policy that is in force unless it is `false`. */
export function onByDefault<O, S>(policy: PolicyDefinition<O, S>): OptionalField<S | undefined, O | false> {
  return absentBecomes(unlessFalse(policy), policy.defaults as S)
}

/** A policy that is in force only with options; `false` is as good as absent. */
export function offByDefault<O, S>(policy: PolicyDefinition<O, S>): OptionalField<S | undefined, O | false> {
  return absentBecomes(unlessFalse(policy), undefined)
}

/** A policy of functions: in force with `true` or options only. */
export function onRequest<O, S>(policy: PolicyDefinition<O, S>): OptionalField<S | undefined, O | boolean> {
  const inner = either(flag(), policy)
  return {
    optional: true,
    schema: inner.schema,
    parse(value, path, issues) {
      const parsed = value === undefined ? false : inner.parse(value, path, issues)
      return parsed === false ? undefined : parsed === true ? (policy.defaults as S) : (parsed as S)
    },
  }
}

function unlessFalse<O, S>(policy: PolicyDefinition<O, S>): Field<S | undefined, O | false> {
  const inner = either(exactly(false), policy)
  return {
    optional: false,
    schema: inner.schema,
    parse(value, path, issues) {
      const parsed = inner.parse(value, path, issues)
      return parsed === false ? undefined : (parsed as S)
    },
  }
}

/** Unlike a default, not published in the schema: it is made of the defaults of the keys. */
function absentBecomes<T, I>(inner: Field<T, I>, absent: T): OptionalField<T, I> {
  return {
    optional: true,
    schema: inner.schema,
    parse: (value, path, issues) => (value === undefined ? absent : inner.parse(value, path, issues)),
  }
}
