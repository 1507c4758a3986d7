/** Reads one message of a session's process. */
import { duplicateKey } from '../discovery/registry/duplicate-key.ts'
import type { Since } from '../discovery/registry/wire.ts'
import { SERVICE_NAME } from '../options/names.ts'
import { parseSafeJson } from './api/safe-json.ts'

export type SessionMessage = Readonly<Record<string, unknown>>

/** The object on a line; `undefined` stands for bytes that are not UTF-8. @throws SyntaxError */
export function readMessage(line: string | undefined): SessionMessage {
  if (line === undefined) throw new SyntaxError('no UTF-8')
  const parsed = parseSafeJson(line)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw new SyntaxError('no object')
  const twice = duplicateKey(line)
  if (twice !== undefined) throw new SyntaxError(`the key '${twice.slice(0, 40)}' is there twice`)
  return parsed as SessionMessage
}

/** `undefined` for anything that is no service name. */
export function nameOf(value: unknown): string | undefined {
  return typeof value === 'string' && SERVICE_NAME.test(value) ? value : undefined
}

/** The position from which a watch resumes. */
export function sinceOf(value: unknown): Since | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { epoch, revision } = value as Partial<Since>
  return typeof epoch === 'string' && Number.isSafeInteger(revision) && revision! >= 0
    ? { epoch, revision: revision! }
    : undefined
}
