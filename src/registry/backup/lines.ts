/**
 * The content of a backup, as JSON lines: `[key, value, revision]` for each record, `null` for one
 * that was deleted meanwhile, and a last line that says how many there are. The state is the newest
 * line of each key.
 */
import type { Item } from '../storage/storage.ts'
import { BackupError } from './error.ts'
import { type BackupOrigin, originIn } from './head.ts'

/** Of one record; a document of policies is at most 1 MiB. */
const LONGEST_LINE = 64 * 1024 * 1024
const LONGEST_FIRST_LINE = 64 * 1024
const NEWLINE = 0x0a

/** The last line. */
export interface BackupEnd {
  readonly epoch: string
  /** Of the state: every change up to it, and none after. */
  readonly revision: number
  readonly lines: number
}

export function recordLine(key: string, value: string | undefined, revision: number): string {
  return `${JSON.stringify([key, value ?? null, revision])}\n`
}

export function endLine({ epoch, revision, lines }: BackupEnd): string {
  return `${JSON.stringify({ epoch, revision, lines })}\n`
}

/**
 * The first line of a registry's answer, and the rest of it.
 *
 * @throws BackupError `backup-incomplete` if it ends before
 */
export async function splitFirstLine(
  source: AsyncGenerator<Uint8Array>,
): Promise<{ readonly first: string; readonly rest: AsyncGenerator<Uint8Array> }> {
  let first = Buffer.alloc(0)
  for (;;) {
    const { done, value } = await source.next()
    if (done === true || first.length > LONGEST_FIRST_LINE) throw incomplete()
    first = Buffer.concat([first, value])
    const end = first.indexOf(NEWLINE)
    if (end >= 0) return { first: first.subarray(0, end).toString(), rest: chain(first.subarray(end + 1), source) }
  }
}

/** @throws BackupError if it is no origin */
export function originOf(line: string): BackupOrigin {
  const origin = originIn(parse(line))
  if (origin === undefined) throw incomplete()
  return origin
}

async function* chain(first: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first
  yield* rest
}

function incomplete(): BackupError {
  return new BackupError('backup-incomplete', "the registry's answer is no backup; nothing was written, try again")
}

/** Splits bytes into lines. @throws BackupError if one is not ended */
export async function* splitLines(source: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rest: Uint8Array[] = []
  let size = 0
  for await (const part of source) {
    let from = 0
    for (let at = part.indexOf(NEWLINE); at >= 0; at = part.indexOf(NEWLINE, from)) {
      rest.push(part.subarray(from, at))
      yield Buffer.concat(rest).toString()
      rest = []
      size = 0
      from = at + 1
    }
    if (from < part.length) rest.push(part.subarray(from))
    size += part.length - from
    if (size > LONGEST_LINE) throw invalid(`a line is longer than ${LONGEST_LINE} bytes`)
  }
  if (rest.length > 0) throw new BackupError('backup-incomplete', 'its last line is not ended')
}

/** Collects the lines of a backup to the state that they describe. */
export class BackupFold {
  readonly #newest = new Map<string, { readonly value: string | undefined; readonly revision: number }>()
  #lines = 0
  #end: BackupEnd | undefined

  /** @throws BackupError `backup-invalid` */
  add(line: string): void {
    if (this.#end !== undefined) throw invalid('a line follows its last one')
    const parsed = parse(line)
    if (Array.isArray(parsed)) this.#record(parsed)
    else this.#end = this.#checked(parsed as Partial<BackupEnd> | null)
  }

  /** In the order of keys. @throws BackupError if the last line is missing */
  finish(): { readonly items: readonly Item[]; readonly end: BackupEnd } {
    if (this.#end === undefined) throw new BackupError('backup-incomplete', 'its last line is missing')
    const items: Item[] = []
    for (const [key, { value, revision }] of this.#newest) {
      if (value !== undefined) items.push({ key, value, revision })
    }
    items.sort((a, b) => (a.key < b.key ? -1 : 1))
    return { items, end: this.#end }
  }

  #record([key, value, revision, ...others]: unknown[]): void {
    const isText = typeof key === 'string' && key !== '' && (typeof value === 'string' || value === null)
    if (!isText || !Number.isSafeInteger(revision) || others.length > 0)
      throw invalid(`line ${this.#lines + 1} is no record`)
    this.#lines += 1
    const before = this.#newest.get(key as string)
    if (before !== undefined && before.revision > (revision as number)) return
    this.#newest.set(key as string, { value: (value as string | null) ?? undefined, revision: revision as number })
  }

  #checked(end: Partial<BackupEnd> | null): BackupEnd {
    const { epoch, revision, lines } = end ?? {}
    if (typeof epoch !== 'string' || !Number.isSafeInteger(revision) || !Number.isSafeInteger(lines)) {
      throw invalid(`line ${this.#lines + 1} is no record`)
    }
    if (lines !== this.#lines) throw invalid(`it has ${this.#lines} lines, and should have ${lines}`)
    return { epoch, revision: revision as number, lines: lines as number }
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

function invalid(what: string): BackupError {
  return new BackupError('backup-invalid', `it is no state of a registry: ${what}`)
}
