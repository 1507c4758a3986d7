import { readFileSync } from 'node:fs'
import ts from 'typescript'
import { expect, it } from 'vitest'
import { flagOf, REASON_FLAGS } from '../../../src/telemetry/access-log/reason-flags.ts'

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

/** The members of the union, as they are written. */
function errorCodes(): string[] {
  const source = ts.createSourceFile('errors.ts', read('src/core/errors.ts'), ts.ScriptTarget.Latest, true)
  const type = source.statements.filter(ts.isTypeAliasDeclaration).find((one) => one.name.text === 'ErrorCode')!.type
  return (type as ts.UnionTypeNode).types.map((one) => ((one as ts.LiteralTypeNode).literal as ts.StringLiteral).text)
}

it('gives every error code a flag of its own', () => {
  const codes = errorCodes()
  expect(codes.length).toBeGreaterThan(20)
  expect(Object.keys(REASON_FLAGS).toSorted()).toEqual(codes.toSorted())
  const flags = Object.values(REASON_FLAGS).map(({ flag }) => flag)
  expect(new Set(flags).size).toBe(flags.length)
  for (const flag of flags) expect(flag).toMatch(/^[A-Z]{2,4}$/)
})

it('has none without a code, and none for a code of a later version', () => {
  expect(flagOf(undefined)).toBeUndefined()
  expect(flagOf('not-yet-known' as never)).toBeUndefined()
})

it('is documented as it is', () => {
  const rows = [...read('docs/access-log.md').matchAll(/^\| `([A-Z]+)`( \*)? \| `([a-z-]+)` \|/gm)]
  const documented = rows.map(([, flag, envoy, code]) => [code, flag, envoy !== undefined])
  expect(documented).toEqual(Object.entries(REASON_FLAGS).map(([code, { flag, ofEnvoy }]) => [code, flag, ofEnvoy]))
})
