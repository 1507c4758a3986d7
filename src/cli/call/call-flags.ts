/** The flags of `inmesh call`, and what its two protocols share: body, output and exit code. */
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { isMeshError, reasonOf } from '../../core/errors.ts'
import type { Developer, DeveloperFlags } from '../developer.ts'
import { EXIT, Failure, invalidUsage } from '../failure.ts'
import type { Input } from '../terminal.ts'
import { attemptLine, type SeenAttempts } from './seen-attempts.ts'

export interface CallFlags extends DeveloperFlags {
  readonly request?: string
  readonly header?: Readonly<Record<string, string>>
  readonly data?: string
  readonly include?: boolean
  readonly timeout?: number
  readonly stream?: boolean
  readonly verbose?: boolean
  readonly proto?: readonly string[]
  readonly importPath?: readonly string[]
}

/** What a protocol needs to make the call. */
export interface Calling {
  readonly developer: Developer
  readonly flags: CallFlags
  readonly seen: SeenAttempts
  readonly stdin: Input
  /** Ctrl-C, or the reader of a pipe has gone. */
  readonly signal: AbortSignal
}

/** Of a body that is given by `-d`, and of an answer with `--json`. */
export const LARGEST_BODY = 64 * 1024 * 1024

/** `-d text`, `-d @file`, `-d @-`. @throws Failure if the file cannot be read */
export async function readData(data: string, stdin: Input): Promise<Buffer> {
  if (!data.startsWith('@')) return Buffer.from(data)
  const parts: Buffer[] = []
  let size = 0
  for await (const part of sourceOf(data, stdin)) {
    size += part.length
    if (size > LARGEST_BODY) throw invalidUsage(`-d ${data}: more than ${LARGEST_BODY / 1024 / 1024} MiB`)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** The same, as it comes. */
export async function* sourceOf(data: string, stdin: Input): AsyncGenerator<Buffer> {
  if (!data.startsWith('@')) {
    yield Buffer.from(data)
    return
  }
  const name = data.slice(1)
  try {
    const source: AsyncIterable<Uint8Array | string> = name === '-' ? stdin : createReadStream(name)
    for await (const part of source) yield typeof part === 'string' ? Buffer.from(part) : Buffer.from(part)
  } catch (error) {
    throw unreadable(`-d ${data}`, error)
  }
}

/** @throws Failure naming the flag */
export async function readGivenFile(flag: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    throw unreadable(`${flag} ${path}`, error)
  }
}

function unreadable(what: string, error: unknown): Failure {
  return invalidUsage(`${what}: cannot be read: ${reasonOf(error)}`)
}

/** The failure of a call without an answer. What failed before the call stays as it is. */
export function callFailure(error: unknown, calling: Calling, absent: string | undefined): unknown {
  const { developer, flags, seen } = calling
  const own = failureIn(error)
  if (own !== undefined) return own
  if (!isMeshError(error))
    return isMeshError((error as Error | undefined)?.cause)
      ? callFailure((error as Error).cause, calling, absent)
      : error
  const { code, message } = error
  const { terminal } = developer
  if (flags.verbose !== true && seen.attempts.length > 1)
    for (const one of seen.attempts) terminal.note(attemptLine(one))
  const hint = absent === undefined || message.includes(absent) ? '' : `; ${absent}`
  return new Failure(EXIT.callFailed, code, `${message}${hint}`)
}

/** What our own code has thrown within a call, such as for a message that is no JSON. */
function failureIn(error: unknown): Failure | undefined {
  let one = error
  for (let depth = 0; depth < 4 && one instanceof Error; depth++) {
    if (one instanceof Failure) return one
    one = one.cause
  }
  return undefined
}

/** The service answered with an error. `refused`: an intention may be missing. */
export function errorStatus(what: string, code: string | undefined, refused: boolean, asked: string): Failure {
  const hint = refused ? `; \`inmesh explain ${asked}\` says whether an intention allows it` : ''
  return new Failure(EXIT.errorStatus, code ?? 'error-status', `${what}${hint}`)
}
