/**
 * Each regular expression of the source runs in linear time. It is tried with growing texts made of
 * its parts; the growth of the time is judged, not the time.
 */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'

const SOURCE = join(import.meta.dirname, '../../src')
const [SHORT, LONG] = [2_000, 16_000]
/** Eight times the text: linear work takes eight times as long, quadratic 64 times. */
const MOST_GROWTH = 24
/** Below it, the growth is noise. */
const NOTICEABLE_MS = 4

interface Found {
  readonly where: string
  readonly expression: RegExp
}

function expressions(): Found[] {
  return globSync('**/*.ts', { cwd: SOURCE }).flatMap((file) => {
    const source = ts.createSourceFile(file, readFileSync(join(SOURCE, file), 'utf8'), ts.ScriptTarget.Latest, true)
    const found: Found[] = []
    const visit = (node: ts.Node): void => {
      if (ts.isRegularExpressionLiteral(node)) {
        const end = node.text.lastIndexOf('/')
        const flags = node.text.slice(end + 1).replace(/[gy]/g, '')
        const { line } = source.getLineAndCharacterOfPosition(node.getStart())
        found.push({ where: `${file}:${line + 1}`, expression: new RegExp(node.text.slice(1, end), flags) })
      }
      ts.forEachChild(node, visit)
    }
    visit(source)
    return found
  })
}

/** Literal pieces of the expression, and characters that its classes may take. */
function pieces({ source }: RegExp): string[] {
  const literals = source.replace(/\\[a-zA-Z]|\[[^\]]*\]|\{[^}]*\}|\(\?[:=!<]*/g, '\0').match(/[^\0()|*+?^$\\]+/g) ?? []
  return [
    ...new Set([
      ...literals,
      ...'a0A-_ .:/%,;="\t\n',
      'a.',
      'a-',
      'a,',
      '0.',
      'a=',
      ' a',
      '"\\',
      ...literals.map((one) => `${one}-`),
    ]),
  ]
}

function timeOf(expression: RegExp, text: string): number {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 3; i++) {
    const used = process.threadCpuUsage()
    expression.test(text)
    const { user, system } = process.threadCpuUsage(used)
    best = Math.min(best, (user + system) / 1_000)
    if (best < NOTICEABLE_MS) break
  }
  return best
}

function growsTooFast(expression: RegExp): string | undefined {
  for (const piece of pieces(expression)) {
    const text = (length: number): string => `${piece.repeat(Math.ceil(length / piece.length))}\0`
    const long = timeOf(expression, text(LONG))
    if (long < NOTICEABLE_MS) continue
    const short = timeOf(expression, text(SHORT))
    if (long > MOST_GROWTH * Math.max(short, 0.05)) return `${JSON.stringify(piece)}: ${short} ms, then ${long} ms`
  }
  return undefined
}

test('finds an expression whose time grows with the square of the text', () => {
  // A busy machine may slow the short text down in one measurement, not in all of them.
  const isFound = (expression: RegExp): boolean =>
    Array.from({ length: 10 }).some(() => growsTooFast(expression) !== undefined)
  expect(isFound(/\beyJ[\w-]+\.[\w-]+\./)).toBe(true)
  expect(isFound(/\s+$/)).toBe(true)
})

test('every regular expression of the source takes linear time', { timeout: 60_000 }, () => {
  const all = expressions()
  expect(all.length).toBeGreaterThan(100)
  expect(
    all.flatMap(({ where, expression }) => {
      const why = growsTooFast(expression)
      if (why === undefined) return []
      // In one measurement, a busy machine may slow the long text down alone.
      const again = Array.from({ length: 4 }, () => growsTooFast(expression)).filter((one) => one !== undefined)
      return again.length < 2 ? [] : [`${where} ${expression}: ${why}`]
    }),
  ).toEqual([])
})
