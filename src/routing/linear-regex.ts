/**
 * Regular expressions of documents, by re2js: its time grows linearly with the text, whatever the
 * pattern. It is loaded when a document first uses one (decision 0029).
 */
import { loadPackage } from '../options/optional-peer.ts'

/** As much of re2js as is used. */
interface Compiled {
  /** Whether the whole text matches. */
  testExact(text: string): boolean
  programSize(): number
}

interface Engine {
  readonly RE2JS: { compile(source: string): Compiled }
}

const ENGINE = 're2js'
/** Bounds the time of one match: it grows with the product of both. */
const MOST_INSTRUCTIONS = 1_000
/** A longer text matches no regular expression. */
export const LONGEST_MATCHED = 4_096
const MOST_CACHED = 1_000

const compiled = new Map<string, Compiled>()

/** @throws Error with the reason, in words of the engine */
function compile(source: string): Compiled {
  const known = compiled.get(source)
  if (known !== undefined) return known
  const { RE2JS } = loadPackage(ENGINE) as Engine
  const regex = RE2JS.compile(source)
  const size = regex.programSize()
  if (size > MOST_INSTRUCTIONS) throw new Error(`is of ${size} instructions; at most ${MOST_INSTRUCTIONS} are allowed`)
  if (compiled.size >= MOST_CACHED) compiled.clear()
  compiled.set(source, regex)
  return regex
}

/** Why `source` cannot be used; `undefined` if it can. */
export function regexMistake(source: string): string | undefined {
  try {
    compile(source)
    return undefined
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    if ((error as { code?: unknown }).code === 'MODULE_NOT_FOUND')
      return `needs the package ${ENGINE}: npm install ${ENGINE}`
    return reason.replace(/^error parsing regexp: /, '')
  }
}

/** The number of instructions of a valid `source`. */
export function regexSize(source: string): number {
  return compile(source).programSize()
}

/**
 * A test of whole texts.
 *
 * @throws Error if `source` is invalid, or re2js is not installed
 */
export function compileRegex(source: string): (text: string) => boolean {
  const regex = compile(source)
  return (text) => text.length <= LONGEST_MATCHED && regex.testExact(text)
}
