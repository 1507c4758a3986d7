/**
 * Checks the prose of comments and documents: width, phrases that readers stumble over, and the
 * length of file heads. `node lint/prose.ts [path...]` prints each finding with its place.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

const WIDTH = 100
/** A head names the purpose of its file: two sentences, rarely four with lists. */
const HEAD_WORDS = 90

/** Phrases that hide the subject or the verb, each with the plain form. */
const PHRASES: readonly (readonly [RegExp, string])[] = [
  [/\bwhoever\b/i, 'name the actor'],
  [/\bnobody\b/i, 'say "no caller", "no peer", …'],
  [/\bso many\b/i, 'give the number or its name'],
  [/\b(?:is|are|be|been|was|were) told\b/i, 'say who notifies whom'],
  [/\bof (?:its|their|his) own\b/i, 'say "its", "separate" or "dedicated"'],
  [/\bwhat (?:it|they) (?:is|are)\b/i, 'name the thing'],
]

const DOCUMENTS = ['README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'docs']
const CODE = ['src', 'test', 'bench', 'examples', 'lint']

interface Line {
  readonly number: number
  readonly text: string
}

function filesUnder(path: string): string[] {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return []
  if (!stat.isDirectory()) return [path]
  if (/^(docs\/api|bench\/results)$|(^|\/)(node_modules|dist)$/.test(path)) return []
  return readdirSync(path).flatMap((name) => filesUnder(join(path, name)))
}

/** The comment lines of a source file, without code, examples and directives of tools. */
function comments(text: string): Line[] {
  const found: Line[] = []
  let inside = false
  let fenced = false
  for (const [index, line] of text.split('\n').entries()) {
    const begins = /^\s*\/\*/.test(line)
    if (begins) fenced = false
    if (/^\s*\* ```/.test(line)) fenced = !fenced
    const isProse = inside || begins || /^\s*\/\/ (?!biome-ignore)/.test(line)
    if (isProse && !fenced) found.push({ number: index + 1, text: line })
    if (begins) inside = true
    if (line.includes('*/')) inside = false
  }
  return found
}

/** The prose lines of a Markdown file: fenced code is left out. */
function paragraphs(text: string): Line[] {
  const found: Line[] = []
  let fenced = false
  for (const [index, line] of text.split('\n').entries()) {
    if (/^\s*```/.test(line)) fenced = !fenced
    else if (!fenced) found.push({ number: index + 1, text: line })
  }
  return found
}

/** A table row and a link cannot be wrapped. */
function canWrap(line: string): boolean {
  return !/^\s*\|/.test(line) && !/^\s*(?:[-*/]+ )?(?:\[[^\]]*\]: )?\S+$/.test(line) && !/\S{80,}/.test(line)
}

function check(path: string): string[] {
  const text = readFileSync(path, 'utf8')
  const isDocument = path.endsWith('.md')
  const lines = isDocument ? paragraphs(text) : comments(text)
  const findings: string[] = []
  for (const { number, text: line } of lines) {
    if (line.length > WIDTH && canWrap(line))
      findings.push(`${path}:${number}: ${line.length} columns, at most ${WIDTH}`)
    // A quotation of a phrase is no use of it.
    const bare = line.replace(/`[^`]*`|"[^"]*"/g, '')
    for (const [phrase, instead] of PHRASES) {
      const used = phrase.exec(bare)
      if (used !== null) findings.push(`${path}:${number}: "${used[0]}": ${instead}`)
    }
  }
  if (!isDocument) {
    const head = /^\/\*\*([\s\S]*?)\*\//.exec(text)?.[1] ?? ''
    const words = head
      .split(/\n\s*\*\s*\n/)[0]!
      .split(/\s+/)
      .filter((word) => /\w/.test(word)).length
    if (words > HEAD_WORDS) findings.push(`${path}:1: a head of ${words} words, at most ${HEAD_WORDS}`)
  }
  return findings
}

const given = process.argv.slice(2)
const paths = (given.length > 0 ? given : [...DOCUMENTS, ...CODE]).flatMap(filesUnder)
const findings = paths.filter((path) => /\.(ts|md)$/.test(path)).flatMap(check)
for (const finding of findings) console.error(finding)
if (findings.length > 0) {
  console.error(`${findings.length} findings`)
  process.exitCode = 1
}
