/** The blocks of README.md that run, as a newcomer pastes them into an empty folder. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { freePorts } from '../rigs/free-ports.ts'
import { EmptyFolder, expectedOf, kindOf, packed } from './empty-folder.ts'
import { Page } from './page.ts'

const LONG_MS = 600_000
const page = new Page('../README.md')
const blocks = page.blocks.filter((block) => kindOf(block) !== undefined)
const into = mkdtempSync(join(tmpdir(), 'inmesh-packed-'))
afterAll(() => rmSync(into, { recursive: true, force: true }))

/** Ports that a page names, on this machine: 7400 is that of a registry elsewhere. */
async function portsOf(texts: readonly string[]): Promise<Record<string, number>> {
  const named = new Set(texts.flatMap((text) => text.match(/\b(?:7400|[3-9]0[0-9]{2})\b/g) ?? []))
  named.add('7400')
  const free = await freePorts(named.size)
  return Object.fromEntries([...named].map((port, i) => [port, free[i]!]))
}

test('README.md has blocks that run, and says what the last one prints', () => {
  const kinds = blocks.map(kindOf)
  expect(kinds).toContain('file')
  expect(kinds).toContain('stays')
  expect(expectedOf(blocks.findLast((block) => kindOf(block) === 'run')!)).not.toEqual([])
})

test(
  'they run as pasted, in their order, with the packed tarball',
  async () => {
    const folder = new EmptyFolder(packed(into), await portsOf(blocks.map(({ text }) => text)))
    try {
      for (const block of blocks) await folder.paste(block)
    } finally {
      await folder.close()
    }
  },
  LONG_MS,
)
