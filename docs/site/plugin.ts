/**
 * TypeDoc with the pages of `docs/`: their groups and titles, modules under the names that users
 * import, and pictures that the browser draws from what the site brings.
 */
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import {
  Application,
  type Context,
  Converter,
  type DocumentReflection,
  KindRouter,
  type Reflection,
  ReflectionKind,
  RendererEvent,
} from 'typedoc'
import { ENTRIES } from '../../build/entries.ts'
import { groups, ROOT } from './navigation.ts'

const { resolve } = createRequire(import.meta.url)

interface Entry {
  readonly name: string
  readonly source: string
}

/** What `import` takes, by the exports of the package. */
function entries(): readonly Entry[] {
  return ENTRIES.map(({ path, file }) => ({ name: path.replace(/^\./, 'inmesh'), source: `src/${file}.ts` }))
}

/** `docs/policies/retry.md` is `policies/retry.html`, whatever its title. */
class PageRouter extends KindRouter {
  override getIdealBaseName(reflection: Reflection): string {
    if (!reflection.isDocument()) return super.getIdealBaseName(reflection)
    return relative(ROOT, sourceOf(reflection))
      .replace(/^docs\//, '')
      .replace(/\.md$/, '')
      .toLowerCase()
  }
}

function sourceOf(document: DocumentReflection): string {
  const source = document.project.files.getReflectionPath(document)
  if (source === undefined) throw new Error(`the page '${document.name}' has no file`)
  return source
}

interface Token {
  type: string
  content: string
  children: Token[] | null
}

/** The part of markdown-it that is used. */
interface MarkdownIt {
  readonly core: { ruler: { push(name: string, rule: (state: { tokens: Token[]; Token: TokenClass }) => void): void } }
}

type TokenClass = new (type: string, tag: string, nesting: number) => Token

/** Anchors are made of the text of a heading: that of \`code\` counts, as on GitHub. */
function codeAsText(tokens: readonly Token[], Token: TokenClass): void {
  for (const [index, token] of tokens.entries()) {
    if (tokens[index - 1]?.type !== 'heading_open' || token.children === null) continue
    token.children = token.children.flatMap((child) => {
      if (child.type !== 'code_inline') return [child]
      const tag = (content: string): Token => Object.assign(new Token('html_inline', '', 0), { content })
      return [tag('<code>'), Object.assign(new Token('text', '', 0), { content: child.content }), tag('</code>')]
    })
  }
}

export function load(app: Application): void {
  const pages = groups()
  const groupOf = new Map(pages.flatMap((group) => group.pages.map((page) => [page, group.title])))
  const modules = new Map(entries().map(({ name, source }) => [join(ROOT, source), name]))

  app.renderer.defineRouter('page', PageRouter)
  app.on(Application.EVENT_BOOTSTRAP_END, () => {
    app.options.setValue(
      'entryPoints',
      entries().map(({ source }) => join(ROOT, source)),
    )
    app.options.setValue(
      'projectDocuments',
      [...groupOf.keys()].map((page) => join(ROOT, page)),
    )
    app.options.setValue('markdownItLoader', (parser: MarkdownIt) => {
      parser.core.ruler.push('code-in-headings', ({ tokens, Token }) => codeAsText(tokens, Token))
    })
    app.options.setValue('groupOrder', [...pages.map(({ title }) => title), 'Modules', '*'])
  })
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_: Context | undefined, document: DocumentReflection) => {
    const source = sourceOf(document)
    const title = /^# (.+)$/m.exec(readFileSync(source, 'utf8'))?.[1]
    if (title === undefined) throw new Error(`${source} has no title`)
    document.name = title.replaceAll('`', '')
    document.frontmatter.group = groupOf.get(relative(ROOT, source))
    // The page begins with it already.
    const [first] = document.content
    if (first?.kind === 'text') first.text = first.text.replace(/^\s*# .+\n/, '')
  })
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const module of project.getReflectionsByKind(ReflectionKind.Module)) {
      const source = project.files.getReflectionPath(module)
      const name = source === undefined ? undefined : modules.get(source)
      if (name !== undefined) module.name = name
    }
  })
  app.renderer.on(RendererEvent.END, ({ outputDirectory }) => {
    const file = join(outputDirectory, 'assets/mermaid.js')
    mkdirSync(dirname(file), { recursive: true })
    copyFileSync(resolve('@mermaid-js/tiny'), file)
  })
}
