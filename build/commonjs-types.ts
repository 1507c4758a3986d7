/**
 * Writes the declarations of `dist/commonjs`. They name those of the ES modules, so that a type is
 * the same for both, and TypeScript's `node16`, which knows no `require` of ES modules, takes them.
 */
import { writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import ts from 'typescript'
import { ENTRIES } from './entries.ts'

const DIST = join(import.meta.dirname, '../dist')
const AS_MODULE = "with { 'resolution-mode': 'import' }"

const files = ENTRIES.map(({ file }) => join(DIST, `${file}.d.ts`))
const program = ts.createProgram(files, { module: ts.ModuleKind.NodeNext, noEmit: true, skipLibCheck: true })
const checker = program.getTypeChecker()

for (const { file } of ENTRIES) {
  const declarations = await declarationsOf(file)
  writeFileSync(join(DIST, 'commonjs', `${file}.d.cts`), declarations)
}

async function declarationsOf(file: string): Promise<string> {
  const source = program.getSourceFile(join(DIST, `${file}.d.ts`))!
  const module = checker.getSymbolAtLocation(source)
  // A way in that exports nothing has no symbol.
  if (module === undefined) return 'export {}\n'
  const from = relative(dirname(join(DIST, 'commonjs', file)), join(DIST, `${file}.js`))
  const values = new Set(Object.keys(await import(join(DIST, `${file}.js`))))
  const types: string[] = []
  const lines: string[] = []
  for (const exported of checker.getExportsOfModule(module)) {
    const name = exported.name
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
    if (!values.has(name)) {
      types.push(name)
      continue
    }
    lines.push(...docsOf(symbol), `export declare const ${name}: typeof esm.${name}`)
    if (symbol.flags & ts.SymbolFlags.Type) lines.push(typeAlias(name, symbol))
  }
  const head = [`import type * as esm from '${from}' ${AS_MODULE}`]
  if (types.length > 0) head.push(`export type { ${types.join(', ')} } from '${from}' ${AS_MODULE}`)
  return `${[...head, ...lines].join('\n')}\n`
}

/** A class is a value and a type. */
function typeAlias(name: string, symbol: ts.Symbol): string {
  const generic = symbol.declarations?.some(
    (one) => (ts.isClassDeclaration(one) || ts.isInterfaceDeclaration(one)) && one.typeParameters !== undefined,
  )
  if (generic) throw new Error(`${name} has type parameters, which this script does not write`)
  return `export type ${name} = esm.${name}`
}

function docsOf(symbol: ts.Symbol): string[] {
  const [declaration] = symbol.declarations ?? []
  if (declaration === undefined) return []
  return ts.getJSDocCommentsAndTags(declaration).flatMap((one) => (ts.isJSDoc(one) ? [one.getText()] : []))
}
