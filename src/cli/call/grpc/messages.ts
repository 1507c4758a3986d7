/**
 * Messages as JSON. protobuf leaves out what it does not know, so a message is encoded and read
 * back, and a field that is lost is an error.
 */
import { didYouMean } from '../../../options/nearest.ts'
import { invalidUsage } from '../../failure.ts'
import type { Method } from './definitions.ts'

/** Of one message on a line. */
const LONGEST_LINE = 16 * 1024 * 1024

/** @throws Failure naming the first field that is wrong */
export function checkedMessage(text: string, method: Method, where: string): object {
  let given: unknown
  try {
    given = JSON.parse(text, wideIntegers as never)
  } catch (error) {
    throw invalidUsage(`${where}: expected a message as JSON: ${(error as Error).message}`)
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalidUsage(`${where}: expected a message as a JSON object, such as '{"sku":"42"}'`)
  }
  let read: object
  try {
    read = method.requestDeserialize(method.requestSerialize(given))
  } catch (error) {
    throw invalidUsage(`${where}: ${(error as Error).message}`)
  }
  const mistake = lost(given, read, '')
  if (mistake !== undefined) throw invalidUsage(`${where}: ${mistake}`)
  return given
}

/** Integers beyond 2^53 stay text, which protobuf takes. */
function wideIntegers(_key: string, value: unknown, { source }: { source?: string }): unknown {
  return typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)
    ? (source ?? value)
    : value
}

/** The first field of `given` that `read` has not, or has otherwise. */
function lost(given: object, read: object, path: string): string | undefined {
  for (const [key, value] of Object.entries(given)) {
    const at = path === '' ? key : `${path}.${key}`
    if (value === null || value === undefined) continue
    if (!Object.hasOwn(read, key)) return `${at}: unknown field${didYouMean(key, Object.keys(read))}`
    const other = (read as Record<string, unknown>)[key]
    if (typeof value === 'object') {
      if (typeof other !== 'object' || other === null) return `${at}: expected ${nameOf(other)}, got ${nameOf(value)}`
      const inner = lost(value, other, at)
      if (inner !== undefined) return inner
    } else if (!isSame(value, other)) return `${at}: ${JSON.stringify(value)} is no value of this field`
  }
  return undefined
}

function nameOf(value: unknown): string {
  return Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** 64-bit integers, enum values and bytes are text in one and may be otherwise in the other. */
function isSame(given: unknown, read: unknown): boolean {
  if (typeof given === 'number' && typeof read === 'number') {
    // A float keeps fewer digits.
    return Object.is(given, read) || Math.fround(given) === read || (given === 0 && read === 0)
  }
  if (typeof given === typeof read) return plain(String(given)) === plain(String(read))
  if (typeof given === 'number') return typeof read === 'string' && (String(given) === read || /^[A-Za-z_]/.test(read))
  return typeof given === 'string' && typeof read === 'number' && (Number(given) === read || Number.isNaN(read))
}

/** base64 of either alphabet. */
function plain(text: string): string {
  return text
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replace(/={1,2}$/, '')
}

/** One message on each line that is not empty. @throws Failure naming the line */
export async function* messagesOf(source: AsyncIterable<Buffer>, method: Method): AsyncGenerator<object> {
  const decoder = new TextDecoder()
  let rest = ''
  let number = 0
  for await (const part of source) {
    const lines = (rest + decoder.decode(part, { stream: true })).split('\n')
    rest = lines.pop()!
    for (const line of lines) {
      number += 1
      if (line.trim() !== '') yield checkedMessage(line, method, `-d, line ${number}`)
    }
    if (rest.length > LONGEST_LINE) throw invalidUsage(`-d, line ${number + 1}: more than 16 MiB in one line`)
  }
  rest += decoder.decode()
  if (rest.trim() !== '') yield checkedMessage(rest, method, `-d, line ${number + 1}`)
}
