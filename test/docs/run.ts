/** Runs blocks in one process, in a folder with the package and all that is installed here. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { javaScriptOf } from './compile.ts'
import { type PlacedBlock, ROOT } from './pages.ts'

const RUNNER = fileURLToPath(new URL('run-blocks.ts', import.meta.url))

/** Each failure with the place of its block. */
export async function failuresOf(blocks: readonly PlacedBlock[]): Promise<readonly string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-blocks-'))
  try {
    installInto(folder)
    const places = new Map(
      blocks.map((block, index) => {
        const file = join(folder, `${index}.mjs`)
        writeFileSync(file, javaScriptOf(block))
        return [file, block.place]
      }),
    )
    const child = spawn(process.execPath, [RUNNER, ...places.keys()], { stdio: ['ignore', 'pipe', 'pipe'] })
    const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    const lines = output
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as { file?: string; message?: string; ran?: number })
    if (lines.at(-1)?.ran !== blocks.length) return [`the process ended early: ${errors}`]
    return lines.flatMap(({ file, message }) => (file === undefined ? [] : [`${places.get(file)}: ${message}`]))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function installInto(folder: string): void {
  const modules = join(folder, 'node_modules')
  mkdirSync(modules)
  const installed = join(ROOT, 'node_modules')
  for (const name of readdirSync(installed)) {
    if (!name.startsWith('.')) symlinkSync(join(installed, name), join(modules, name))
  }
  symlinkSync(ROOT, join(modules, 'inmesh'))
}
