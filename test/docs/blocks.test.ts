/**
 * Every block of every page is code that compiles, a document that is valid, or a command that
 * exists. CONTRIBUTING.md lists the comments that a block may carry.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { parsePolicyFile } from '../../src/cli/policy-file.ts'
import { mistakesIn } from './compile.ts'
import { Page } from './page.ts'
import { blocksIn, PAGES, type PlacedBlock, ROOT } from './pages.ts'
import { failuresOf } from './run.ts'
import { mistakeIn, unknownIn, usagesIn } from './usages.ts'

/** A reader of the failure sees one mistake a line. */
function expectNone(mistakes: readonly string[]): void {
  expect(mistakes.join('\n')).toBe('')
}

function written(text: string, given?: string): PlacedBlock {
  const marks = new Map(given === undefined ? [] : [['given', given]])
  const page = 'docs/wrong.md'
  return { language: 'ts', tag: '', line: 10, text, marks, page, place: `${page}:10`, before: undefined }
}

function failureOf(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    const { message, issues = [] } = error as Error & { issues?: readonly { line: number; message: string }[] }
    return [message, ...issues.map((issue) => `line ${issue.line} of the block: ${issue.message}`)].join('; ')
  }
}

function failures(blocks: readonly PlacedBlock[], check: (block: PlacedBlock) => unknown): readonly string[] {
  return blocks.flatMap((block) => {
    const failure = failureOf(() => check(block))
    return failure === undefined ? [] : [`${block.place}: ${failure}`]
  })
}

/** `service: inventory`, `service: mesh`, or a manifest of the Gateway API. */
function isPolicy(text: string): boolean {
  return /^service:|^apiVersion: gateway\.networking/m.test(text)
}

/** Only a machine with much other work needs it. */
const LONG_MS = 300_000

describe('blocks of pages', () => {
  it(
    'that are TypeScript or JavaScript compile against the published types',
    () => {
      const blocks = blocksIn('ts', 'tsx', 'js')
      expect(blocks.length).toBeGreaterThan(25)
      const wrong = written("const answer = await mesh.fetch('http://inventory/')\nconst left: number = answer\n")
      const mistakes = [...mistakesIn([...blocks, wrong])]
      // The last one is ours: a mistake is found, and named with its line.
      expect(mistakes.pop()).toBe(
        "docs/wrong.md:12: Type 'Response' is not assignable to type 'number'.\n    > const left: number = answer",
      )
      expectNone(mistakes)
    },
    LONG_MS,
  )

  it(
    'that say that they run do',
    async () => {
      const blocks = blocksIn('ts', 'js').filter(({ marks }) => marks.has('runs'))
      expect(blocks.length).toBeGreaterThan(5)
      const wrong = written("import assert from 'node:assert'\nassert.equal(left(), 6)\n", 'const left = () => 7')
      const failures = [...(await failuresOf([...blocks, wrong]))]
      expect(failures.pop()).toMatch(/^docs\/wrong\.md:10: AssertionError.*7 !?== 6/s)
      expectNone(failures)
    },
    LONG_MS,
  )

  it('that are documents are valid', () => {
    const blocks = blocksIn('yaml')
    expect(blocks.filter(({ text }) => isPolicy(text)).length).toBeGreaterThan(8)
    expectNone(
      failures(blocks, ({ text }) => {
        if (isPolicy(text)) return parsePolicyFile(text, 'the document')
        const errors = parseAllDocuments(text).flatMap((document) => document.errors)
        if (errors.length > 0) throw errors[0]
        return undefined
      }),
    )
  })

  it('that are JSON can be parsed', () => {
    const blocks = blocksIn('json')
    expect(blocks.length).toBeGreaterThan(2)
    expectNone(failures(blocks, ({ text }) => JSON.parse(text)))
  })

  it('that are commands name commands, arguments and flags of inmesh', () => {
    const blocks = blocksIn('sh', 'bash', 'console', 'dockerfile')
    const usages = blocks.flatMap(({ page, line, text }) =>
      usagesIn(text).map((usage) => ({ ...usage, place: `${page}:${line + usage.line + 1}` })),
    )
    expect(usages.length).toBeGreaterThan(60)
    expectNone(
      usages.flatMap(({ args, place }) => {
        const mistake = mistakeIn(args)
        return mistake === undefined ? [] : [`${place}: inmesh ${args.join(' ')}: ${mistake}`]
      }),
    )
  })

  it('stand among sentences that name commands and flags that there are', () => {
    const named = PAGES.flatMap((page) =>
      [...new Page(`../${page}`).text.matchAll(/`(?:npx )?inmesh ([^`]+)`/g)].map(([, text]) => ({
        page,
        text: text!,
      })),
    )
    expect(named.length).toBeGreaterThan(60)
    expectNone(
      named.flatMap(({ page, text }) => {
        const unknown = unknownIn(text.split(/\s+/))
        return unknown === undefined ? [] : [`${page}: inmesh ${text}: ${unknown}`]
      }),
    )
  })

  it('that run scripts of this repository name scripts that there are', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object }
    // Of an example's package, or of the reader's.
    const blocks = blocksIn('sh').filter(({ page }) => !page.startsWith('examples/'))
    const run = blocks.flatMap(({ place, text }) =>
      [...text.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name]) => ({ place, name: name! })),
    )
    expect(run.length).toBeGreaterThan(10)
    expectNone(run.filter(({ name }) => !(name in scripts)).map(({ place, name }) => `${place}: npm run ${name}`))
  })

  it('say why, if they are not checked', () => {
    const silent = PAGES.flatMap((page) =>
      new Page(`../${page}`).blocks
        .filter(({ marks }) => marks.get('not checked') === '')
        .map(({ line }) => `${page}:${line}: <!-- not checked: … --> needs a reason`),
    )
    expectNone(silent)
  })
})
