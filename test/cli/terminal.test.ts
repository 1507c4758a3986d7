/** No escape sequence of the registry reaches the terminal, in text or in JSON. */
import { expect, test } from 'vitest'
import { printable, Terminal, table } from '../../src/cli/terminal.ts'

const HOSTILE = [
  '\u001b[2J', '\r\n200 OK', '\u0000', '\u007f', '\u009b31m', '\u0085', '\u00ad', '\u061c', '\u200b', '\u200e', '\u200f', '\u2028',
  '\u2029', '\u202e', '\u2066', '\u2067', '\u2068', '\u2069', '\ufeff', '\u{e0041}',
] // biome-ignore format: a table
const OBEYED = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

test.each(HOSTILE)('%j is shown and not obeyed', (text) => {
  const value = `a${text}b`
  expect(printable(value)).not.toMatch(OBEYED)
  expect(table(['name'], [[value]]).join('')).not.toMatch(OBEYED)
  let written = ''
  const out = { write: (said: string) => (written += said) }
  const terminal = new Terminal({ stdout: out, stderr: out, stdin: (async function* () {})(), env: {} }, true)
  terminal.result({ name: value, [value]: 1 }, () => [])
  terminal.fail({ code: 'x', message: value, exitCode: 1, issues: [] } as never)
  const [result, failure, rest] = written.split('\n')
  expect(rest).toBe('')
  expect(result! + failure!).not.toMatch(OBEYED)
  expect(JSON.parse(result!)).toEqual({ name: value, [value]: 1 })
  expect(JSON.parse(failure!).error.message).toBe(value)
})

test('letters of any script, and what they are combined with, stay', () => {
  expect(printable('Größe 価格 é нет')).toBe('Größe 価格 é нет')
})
