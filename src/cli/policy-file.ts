/**
 * Parses policy documents and manifests (YAML or JSON), and reports every mistake with its line and
 * column. Documents are sent as written, without defaults.
 */
import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, type Node, type Pair, parseAllDocuments } from 'yaml'
import { itemsOf } from '../gateway-api/manifest.ts'
import { formatPath, type Issue, type Path } from '../options/fields.ts'
import { checkDocuments, type FileDocument } from './check-documents.ts'
import type { LocatedIssue } from './failure.ts'
import { LARGEST_FILE_BYTES, mistakesIn, tooLarge } from './policy-file-failures.ts'

const LONGEST_MESSAGE = 120
export const MOST_DOCUMENTS = 300
/** An alias may stand for a tree with aliases in it, so few of them make a huge document. */
const MOST_ALIASES = 50
const DEEPEST = 20
const TOO_DEEP = `is nested deeper than ${DEEPEST} levels`

/** What was written, in order; and where each part of it stands. */
export interface PolicyFile {
  readonly documents: readonly FileDocument[]
  locate(document: number, issue: Issue): LocatedIssue
}

/** @throws Failure naming every mistake. */
export function parsePolicyFile(text: string, file: string): PolicyFile {
  if (Buffer.byteLength(text) > LARGEST_FILE_BYTES) throw tooLarge(file)
  if (text.trim() === '')
    throw mistakesIn(file, [{ file, line: 1, column: 1, path: '', message: 'there is no document' }])
  const lines = new LineCounter()
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { file, line: Math.max(1, line), column: Math.max(1, col) }
  }
  const issues: LocatedIssue[] = []
  const roots: (Node | null)[] = []
  const values: unknown[] = []
  try {
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      // Found by our own walk: the parser's check compares each key with all others.
      uniqueKeys: false,
      stringKeys: true,
      logLevel: 'silent',
    })
    for (const document of Array.isArray(parsed) ? parsed : []) {
      // The parser ran out of stack, and says so for each level that it left.
      const tooDeep = document.errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION')
      if (tooDeep !== undefined) {
        issues.push({ ...at(tooDeep.pos[0]), path: '', message: TOO_DEEP })
        continue
      }
      for (const { pos, message } of document.errors)
        issues.push({ ...at(pos[0]), path: '', message: sentence(message) })
      for (const { pos, message } of document.warnings)
        issues.push({ ...at(pos[0]), path: '', message: sentence(message) })
      if (document.errors.length > 0) continue
      const root = document.contents
      // `---` at the end of a file, or only comments.
      if (root === null || (isScalar(root) && root.value === null && root.source === '')) continue
      const found = mistakesOfForm(root)
      for (const { node, path, message } of found)
        issues.push({ ...at(startOf(node)), path: formatPath(path), message })
      if (found.length > 0) continue
      const value: unknown = document.toJS({ maxAliasCount: MOST_ALIASES })
      const entries = Array.isArray(value) ? value : itemsOf(value)
      if (entries !== undefined) {
        const list: unknown = isMap(root) ? root.get('items', true) : root
        for (const [i, entry] of entries.entries()) {
          const item: unknown = isSeq(list) ? list.items[i] : undefined
          roots.push(isNode(item) ? item : root)
          values.push(entry)
        }
      } else {
        roots.push(root)
        values.push(value)
      }
    }
  } catch (error) {
    // Nested so deep that the parser ran out of stack, or more aliases than allowed.
    const message = error instanceof RangeError ? TOO_DEEP : sentence((error as Error).message)
    issues.push({ file, line: 1, column: 1, path: '', message })
  }
  const locate = (document: number, issue: Issue): LocatedIssue => ({
    ...at(offsetOf(roots[document] ?? null, issue.path)),
    path: formatPath(issue.path),
    message: issue.message,
  })
  if (issues.length === 0 && values.length === 0) {
    issues.push({ file, line: 1, column: 1, path: '', message: 'there is no document' })
  }
  if (values.length > MOST_DOCUMENTS) {
    issues.push({ file, line: 1, column: 1, path: '', message: `more than ${MOST_DOCUMENTS} documents` })
  }
  issues.push(...checkDocuments(values.slice(0, MOST_DOCUMENTS), locate))
  if (issues.length > 0) throw mistakesIn(file, issues)
  return { documents: values as FileDocument[], locate }
}

interface FormMistake {
  readonly node: unknown
  readonly path: Path
  readonly message: string
}

/** Duplicate keys and too deep nesting: what a plain value no longer shows. */
function mistakesOfForm(root: Node): FormMistake[] {
  const found: FormMistake[] = []
  const walk = (node: unknown, path: Path): void => {
    if (path.length > DEEPEST) {
      if (found.length === 0) found.push({ node, path: path.slice(0, 3), message: TOO_DEEP })
      return
    }
    if (isSeq(node)) {
      node.items.forEach((item, i) => {
        walk(item, [...path, i])
      })
    }
    if (!isMap(node)) return
    const seen = new Set<string>()
    for (const pair of node.items) {
      const key = keyOf(pair)
      if (seen.has(key)) found.push({ node: pair.key, path: [...path, key], message: 'is given twice' })
      seen.add(key)
      walk(pair.value, [...path, key])
    }
  }
  walk(root, [])
  return found
}

/**
 * Where the key of the value at `path` begins, or an entry of a list; if it is missing, what should
 * contain it.
 */
function offsetOf(root: Node | null, path: Path): number {
  let node: unknown = root
  let offset = startOf(root)
  for (const [depth, step] of path.entries()) {
    if (isAlias(node)) return startOf(node)
    if (isMap(node)) {
      const pair = node.items.find((candidate) => keyOf(candidate) === String(step))
      // A missing key: its parent's place.
      if (pair === undefined) return offset
      const last = depth === path.length - 1
      offset = startOf(last || !isNode(pair.value) ? pair.key : pair.value)
      node = pair.value
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(step)]
      if (item === undefined) return offset
      offset = startOf(item)
      node = item
    } else return offset
  }
  return offset
}

function keyOf(pair: Pair<unknown, unknown>): string {
  return String(isScalar(pair.key) ? pair.key.value : pair.key)
}

function startOf(node: unknown): number {
  return isNode(node) && node.range ? node.range[0] : 0
}

/** The parser quotes what it does not understand, which may be the rest of the file. */
function sentence(message: string): string {
  const line = (message.split('\n')[0] ?? message).replace(/[.:]$/, '')
  return line.length > LONGEST_MESSAGE ? `${line.slice(0, LONGEST_MESSAGE)}…` : line
}
