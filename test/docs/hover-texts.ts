/** Reads what an editor shows over the options in the types that the package publishes. */
import { join } from 'node:path'
import ts from 'typescript'
import { ENTRIES } from '../../build/entries.ts'
import { ROOT } from './pages.ts'

export interface Option {
  /** `MeshOptions.admin.port`. */
  readonly name: string
  readonly text: string
  readonly tags: readonly string[]
  readonly isOptional: boolean
  /** Its value is an object of options, whose defaults are theirs. */
  readonly isGroup: boolean
  /** As an editor prints it, aliases by name. */
  readonly type: string
}

const OF_OPTIONS = /(?:Options|Init)$/

/** The options of every type that an entry exports as options, and of the objects within them. */
export function publishedOptions(): readonly Option[] {
  const files = ENTRIES.map(({ file }) => join(ROOT, 'dist', `${file}.d.ts`))
  const program = ts.createProgram(files, {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ['node'],
    strict: true,
    skipLibCheck: true,
    noEmit: true,
  })
  return new Walk(program).optionsOf(files)
}

class Walk {
  readonly #checker: ts.TypeChecker
  readonly #program: ts.Program
  readonly #found = new Map<string, Option>()
  readonly #seen = new Set<ts.Type>()

  constructor(program: ts.Program) {
    this.#program = program
    this.#checker = program.getTypeChecker()
  }

  optionsOf(files: readonly string[]): readonly Option[] {
    for (const file of files) {
      const module = this.#checker.getSymbolAtLocation(this.#program.getSourceFile(file)!)!
      for (const exported of this.#checker.getExportsOfModule(module)) {
        if (OF_OPTIONS.test(exported.name)) this.#enter(exported.name, this.#typeNamed(exported))
      }
    }
    return [...this.#found.values()]
  }

  #typeNamed(symbol: ts.Symbol): ts.Type {
    const isAlias = (symbol.flags & ts.SymbolFlags.Alias) !== 0
    return this.#checker.getDeclaredTypeOfSymbol(isAlias ? this.#checker.getAliasedSymbol(symbol) : symbol)
  }

  /** Whether it is an object of options; each is read once. */
  #enter(name: string, type: ts.Type): boolean {
    if (type.isUnion()) return type.types.map((member) => this.#enter(name, member)).includes(true)
    if (this.#checker.isArrayType(type))
      return this.#enter(name, this.#checker.getTypeArguments(type as ts.TypeReference)[0]!)
    const isObject = (type.flags & (ts.TypeFlags.Object | ts.TypeFlags.Intersection)) !== 0
    if (!isObject || type.isClass() || type.getCallSignatures().length > 0) return false
    const options = type.getProperties().filter((property) => isOption(property))
    if (this.#seen.has(type)) return options.length > 0
    this.#seen.add(type)
    for (const option of options) this.#read(name, option)
    return options.length > 0
  }

  #read(owner: string, property: ts.Symbol): void {
    const type = this.#checker.getTypeOfSymbol(property)
    const name = `${owner}.${property.name}`
    const tags = property.getJsDocTags(this.#checker)
    this.#found.set(name, {
      name,
      text: ts.displayPartsToString(property.getDocumentationComment(this.#checker)),
      tags: tags.map((tag) => tag.name),
      isOptional: (property.flags & ts.SymbolFlags.Optional) !== 0,
      isGroup: this.#enter(name, this.#checker.getNonNullableType(type)),
      type: this.#checker.typeToString(type, undefined, ts.TypeFormatFlags.NoTruncation),
    })
  }
}

/** Methods of interfaces that users implement, and what comes from other packages, are not. */
function isOption(property: ts.Symbol): boolean {
  if ((property.flags & ts.SymbolFlags.Method) !== 0) return false
  return property.declarations?.[0]?.getSourceFile().fileName.startsWith(join(ROOT, 'dist')) === true
}
