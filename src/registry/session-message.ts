/** Reads one message of a session's process. */
import { duplicateKey } from '../discovery/registry/duplicate-key.ts'
import type { Since } from '../discovery/registry/wire.ts'
import { SERVICE_NAME } from '../options/names.ts'
import { parseSafeJson } from './api/safe-json.ts'

export type SessionMessage = Readonly<Record<string, unknown>>

/** How processes begin their reports, which are longer and more frequent than all else. */
const REPORT = '{"type":"traffic",'

/** The object on a line; `undefined` stands for bytes that are not UTF-8. @throws SyntaxError */
export function readMessage(line: string | undefined): SessionMessage {
  if (line === undefined) throw new SyntaxError('no UTF-8')
  const isReport = line.startsWith(REPORT)
  const parsed = parseSafeJson(line, isReport)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw new SyntaxError('no object')
  // A number that is there twice is a mistake of its process, and no other reader judges by it.
  if (isReport && (parsed as SessionMessage).type === 'traffic') return parsed as SessionMessage
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
