/** Text that a command prints, or writes to a new file. */
import { writeFileSync } from 'node:fs'
import { invalidUsage } from './failure.ts'
import type { Terminal } from './terminal.ts'

/** `value`: what `--json` prints. A file that is there is not replaced. */
export function writeOut(terminal: Terminal, value: object, text: string, out: string | undefined): void {
  if (out === undefined) {
    terminal.result(value, () => [text.trimEnd()])
    return
  }
  try {
    writeFileSync(out, text, { flag: 'wx', mode: 0o644 })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why = code === 'EEXIST' ? `${out} is there already; give another name` : `cannot write ${out}: ${message}`
    throw invalidUsage(`--out: ${why}`)
  }
  terminal.result({ ...value, out }, () => [out])
}
