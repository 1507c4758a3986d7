/**
 * Writes the tables of options in `docs/policies` from the definitions of the policies: TSDoc of
 * each key, range from its schema. `node lint/option-tables.ts --write`; a test compares.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import ts from 'typescript'
import { formatDuration } from '../src/options/duration.ts'
import { BULKHEAD } from '../src/resilience/guard/bulkhead.ts'
import { RATE_LIMIT } from '../src/resilience/limits/rate-limit.ts'
import { SERVICE } from '../src/resilience/settings.ts'
import { ACCESS_LOG } from '../src/telemetry/access-log/settings.ts'

const ROOT = new URL('../', import.meta.url)
const SOURCES = ['src/resilience/', 'src/telemetry/access-log/'].map((folder) => new URL(folder, ROOT))
export const PAGES = new URL('docs/policies/', ROOT)
/** Pages with tables that are none of policies. */
const OTHER_PAGES = ['../access-log.md']

/** A table stands between two comments; the first names its options, nested ones included. */
const TABLE = /(<!-- options: ([\w., ]+) -->\n)[\s\S]*?(<!-- end of options -->)/g
const HEAD = ['| key | what | default |', '|---|---|---|']

type Schema = { readonly [key: string]: unknown } | undefined

/** One documented option. */
export interface DocumentedOption {
  readonly path: string
  readonly what: string
  /** As written in TSDoc; `undefined`: none is. */
  readonly fallback: string | undefined
  readonly schema: Schema
  /** The options that it consists of, if it is an object. */
  readonly parts: readonly DocumentedOption[]
}

/** All options of services, of the access log, and those that only functions have. */
export function documentedOptions(): readonly DocumentedOption[] {
  const definitions = new Definitions()
  const group = (path: string, constant: string, schema: Schema): DocumentedOption => {
    return { path, what: '', fallback: undefined, schema, parts: definitions.optionsOf(constant, schema, `${path}.`) }
  }
  return [
    ...definitions.optionsOf('SERVICE', SERVICE.schema, ''),
    group('accessLog', 'ACCESS_LOG', ACCESS_LOG.schema),
    group('rateLimit', 'RATE_LIMIT', RATE_LIMIT.schema),
    // The last kind of value: before it are a number and a name.
    group('bulkhead', 'BULKHEAD', (BULKHEAD.schema.anyOf as Schema[]).at(-1)),
  ]
}

/** The constants of the sources by name, to find the object that documents an option. */
class Definitions {
  /** Of all files; names such as `definition` occur in several. */
  readonly #constants = new Map<string, { readonly value: ts.Expression; readonly file: ts.SourceFile }[]>()

  constructor() {
    for (const folder of SOURCES) {
      for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        if (name.endsWith('.ts')) this.#read(name, folder)
      }
    }
  }

  #read(name: string, folder: URL): void {
    const text = readFileSync(new URL(name, folder), 'utf8')
    const file = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true)
    for (const statement of file.statements) {
      if (!ts.isVariableStatement(statement)) continue
      for (const { name: id, initializer } of statement.declarationList.declarations) {
        if (initializer === undefined) continue
        const known = this.#constants.get(id.getText()) ?? []
        this.#constants.set(id.getText(), [...known, { value: initializer, file }])
      }
    }
  }

  optionsOf(constant: string, schema: Schema, prefix: string): readonly DocumentedOption[] {
    const declared = this.#constants.get(constant)?.[0]
    const own = this.#constants.get('definition')?.find(({ file }) => file === declared?.file) ?? declared
    const shape = own && this.#shape(own.value, new Set())
    return shape === undefined ? [] : this.#options(shape, schema, prefix)
  }

  #options(shape: ts.ObjectLiteralExpression, schema: Schema, prefix: string): readonly DocumentedOption[] {
    const { properties, required = [] } = objectIn(schema) as {
      properties: Record<string, Schema>
      required?: string[]
    }
    return shape.properties.flatMap((property) => {
      if (ts.isSpreadAssignment(property)) {
        const spread = this.#shape(property.expression, new Set())
        return spread === undefined ? [] : this.#options(spread, schema, prefix)
      }
      if (!ts.isPropertyAssignment(property)) return []
      const key = property.name.getText()
      const inner = properties[key]
      const path = `${prefix}${key}${itemsIn(inner) === undefined ? '' : '[]'}`
      const shapeInside = objectIn(inner) && this.#shape(property.initializer, new Set())
      const { what, fallback } = documentation(property)
      return [
        {
          path: `${prefix}${key}`,
          what,
          fallback: fallback ?? (required.includes(key) ? 'required' : undefined),
          schema: inner,
          parts: shapeInside === undefined ? [] : this.#options(shapeInside, inner, `${path}.`),
        },
      ]
    })
  }

  /** The first object of fields that `value` is made of. */
  #shape(value: ts.Node, seen: Set<ts.Node>): ts.ObjectLiteralExpression | undefined {
    if (seen.has(value)) return undefined
    seen.add(value)
    if (ts.isAsExpression(value)) return this.#shape(value.expression, seen)
    if (ts.isCallExpression(value) && /^(?:definePolicy|fields)$/.test(value.expression.getText())) {
      const shape = value.arguments.find((argument) => !ts.isStringLiteral(argument))
      if (shape === undefined || ts.isObjectLiteralExpression(shape)) return shape
      return this.#shape(shape, seen)
    }
    if (ts.isIdentifier(value)) {
      const file = value.getSourceFile()
      const known = this.#constants.get(value.text)
      const constant = known?.find((one) => one.file === file) ?? (known?.length === 1 ? known[0] : undefined)
      if (constant === undefined) return undefined
      const { value: initializer } = constant
      // A shape to be spread, not yet fields.
      if (ts.isAsExpression(initializer) && ts.isObjectLiteralExpression(initializer.expression)) {
        return initializer.expression
      }
      return this.#shape(initializer, seen)
    }
    return ts.forEachChild(value, (child) => this.#shape(child, seen))
  }
}

function documentation(property: ts.PropertyAssignment): { what: string; fallback: string | undefined } {
  const [comment] = ts.getJSDocCommentsAndTags(property).filter((node) => ts.isJSDoc(node))
  const tag = comment?.tags?.find((one) => one.tagName.text === 'defaultValue')
  return { what: oneLine(comment?.comment), fallback: tag && oneLine(tag.comment) }
}

function oneLine(comment: Parameters<typeof ts.getTextOfJSDocComment>[0]): string {
  return (ts.getTextOfJSDocComment(comment) ?? '').replace(/\s+/g, ' ').trim()
}

function itemsIn(schema: Schema): Schema {
  return objectOf(schema?.items)?.properties === undefined ? undefined : (schema?.items as Schema)
}

function objectOf(schema: unknown): Schema {
  return typeof schema === 'object' && schema !== null ? (schema as Schema) : undefined
}

/** The object with keys among the kinds of value that are valid. */
function objectIn(schema: Schema): Schema {
  if (schema?.properties !== undefined) return schema
  const kinds = [schema?.items, ...((schema?.anyOf as unknown[]) ?? [])].map(objectOf)
  return kinds.map((kind) => kind && objectIn(kind)).find((kind) => kind !== undefined)
}

/** The valid values in words, such as `1 ms to 5 min`; empty: the text says them. */
function range(schema: Schema): string {
  if (schema?.type === 'array') return itemsIn(schema) === undefined ? rangeOfList(schema) : ''
  const kinds = [schema, ...[schema?.anyOf, schema?.oneOf].flatMap((some) => (some as Schema[]) ?? [])]
  const bounded = kinds.find((kind) => kind?.minimum !== undefined)
  const alternatives =
    bounded === undefined ? [] : kinds.concat(kinds.flatMap((kind) => (kind?.oneOf as Schema[]) ?? []))
  if (bounded === undefined) {
    const nested = kinds.find((kind) => kind !== schema && kind?.oneOf !== undefined)
    return nested === undefined ? '' : range(nested)
  }
  const pattern = String(alternatives.find((kind) => kind?.pattern !== undefined)?.pattern ?? '')
  const [least, most] = [bounded.minimum, bounded.maximum] as [number, number]
  if (pattern.includes('ms|')) return `${span(least)} to ${span(most)}`
  if (pattern.endsWith('%$')) return `${percent(least)} to ${percent(most)}`
  const per = pattern.includes('/(s') ? ' per second' : ''
  return `${least.toLocaleString('en-US')} to ${most.toLocaleString('en-US')}${per}`
}

function rangeOfList(schema: Schema): string {
  const item = schema?.items as Schema
  const names = (item?.enum as string[] | undefined)?.map((name) => `\`${name}\``).join(', ')
  return `${names ?? `${range(item)}, at most ${schema?.maxItems}`}`.replace(/^, a/, 'A')
}

function percent(value: number): string {
  return `${Number((value * 100).toFixed(6))}%`
}

const UNITS: Readonly<Record<string, string>> = { ms: 'ms', s: 's', m: 'min', h: 'h' }

function span(ms: number): string {
  const [, number, unit] = /^([\d.]+)(\w+)$/.exec(formatDuration(ms))!
  if (unit === 'd') return `${Number(number) * 24} h`
  return ms === 0 ? '0' : `${number} ${UNITS[unit!]}`
}

/** An object without a stated default has no row: its keys have. */
function isGroup(option: DocumentedOption): boolean {
  return option.parts.length > 0 && option.fallback === undefined
}

function rows(option: DocumentedOption): readonly string[] {
  const nested = option.parts.flatMap(rows)
  if (isGroup(option)) return nested
  const valid = range(option.schema)
  const what = `${option.what}${valid === '' ? '' : ` ${valid}`}`.replaceAll('|', '\\|')
  return [`| \`${option.path}\` | ${what} | ${(option.fallback ?? '').replaceAll('|', '\\|')} |`, ...nested]
}

/** `page` with its tables as the definitions say. */
export function withTables(page: string, options: readonly DocumentedOption[]): string {
  return page.replace(TABLE, (_, begin: string, paths: string, end: string) => {
    const found = paths.split(',').map((path) => find(path.trim(), options))
    return `${begin}${[...HEAD, ...found.flatMap(rows)].join('\n')}\n${end}`
  })
}

function find(path: string, options: readonly DocumentedOption[]): DocumentedOption {
  const found = flat(options).find((option) => option.path === path)
  if (found === undefined) throw new Error(`no option ${path}`)
  return found
}

/** Each option and its parts. */
export function flat(options: readonly DocumentedOption[]): readonly DocumentedOption[] {
  return options.flatMap((option) => [option, ...flat(option.parts)])
}

/** The pages of {@link PAGES}, without their pictures, and the others with tables. */
export function pageNames(): string[] {
  return [...readdirSync(PAGES).filter((name) => name.endsWith('.md')), ...OTHER_PAGES]
}

if (process.argv.includes('--write')) {
  const options = documentedOptions()
  for (const name of pageNames()) {
    const page = readFileSync(new URL(name, PAGES), 'utf8')
    const tables = withTables(page, options)
    if (tables !== page) writeFileSync(new URL(name, PAGES), tables)
  }
}
