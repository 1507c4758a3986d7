/**
 * Reads bytes from text: plain hex digits, and the dumps of `xxd`, `hexdump -C` and Wireshark, with
 * an offset before each line and characters behind it.
 */
import { EXIT, Failure } from '../failure.ts'

const OFFSET = /^\s*(?:0x)?[0-9a-f]{4,16}(?::[ \t]*|[ \t]{2,})/i
/** An offset, then bytes in groups of one or two digits. */
const DIGITS = /^[0-9a-f]+$/i
/** A star stands for lines like the one before (hexdump, xxd -a). */
const REPEATED = /^\s*\*\s*$/
const LAST_OFFSET = /^[0-9a-f]{4,16}\s*$/i

/** Whether `input` is text of hex digits, judged by its first kilobyte. */
export function isHexText(input: Buffer): boolean {
  const begin = input.subarray(0, 1_024).toString('latin1')
  if (!/^[\t\n\r\x20-\x7e]*$/.test(begin)) return false
  const line = begin.split('\n').find((one) => one.trim() !== '') ?? ''
  // The last digit of a pair may stand behind the kilobyte.
  return bytesOf(line) !== undefined || bytesOf(line.slice(0, -1)) !== undefined
}

/** @throws Failure naming the line that is no hex. */
export function readHexText(text: string): Buffer {
  const pieces: Buffer[] = []
  const lines = text.split('\n')
  const dumped = lines.some((line) => OFFSET.test(line))
  for (const [i, line] of lines.entries()) {
    if (line.trim() === '' || (dumped && LAST_OFFSET.test(line))) continue
    if (REPEATED.test(line)) {
      throw wrong(i, 'lines that repeat are left out; dump with `hexdump -v`')
    }
    const bytes = bytesOf(line)
    if (bytes === undefined) throw wrong(i, 'expected pairs of hex digits')
    pieces.push(bytes)
  }
  return Buffer.concat(pieces)
}

function wrong(index: number, message: string): Failure {
  return new Failure(EXIT.invalid, 'invalid-capture', `line ${index + 1} is no hex dump: ${message}`)
}

function bytesOf(line: string): Buffer | undefined {
  const offset = OFFSET.exec(line)
  const rest = offset === null ? line : withoutCharacters(line.slice(offset[0].length))
  const digits = rest.replace(/0x|[\s,:]/gi, '')
  if (digits.length % 2 !== 0 || !DIGITS.test(digits)) return undefined
  return Buffer.from(digits, 'hex')
}

/** Without the characters at the end of a dumped line: after `|`, or after two spaces. */
function withoutCharacters(line: string): string {
  const bar = line.indexOf('|')
  if (bar >= 0) return line.slice(0, bar)
  // hexdump parts two halves of the bytes by two spaces.
  const halves = /^((?:[0-9a-f]{2} ){7,8}) ?((?:[0-9a-f]{2}(?: |$)){1,8})/i.exec(line)
  if (halves !== null) return halves[0]
  const end = line.search(/\s{2,}/)
  return end < 0 ? line : line.slice(0, end)
}
