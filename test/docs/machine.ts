/**
 * A directory that stands for a machine: the paths, names and ports of a page lead into it, and
 * `systemctl` runs the units that the page writes.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Block } from './page.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const SYSTEMCTL = fileURLToPath(new URL('./systemctl.ts', import.meta.url))

export interface Outcome {
  readonly code: number | null
  /** Of all blocks, with a line before each that names it. */
  readonly output: string
}

export class Machine {
  readonly root = mkdtempSync(join(tmpdir(), 'inmesh-machine-'))
  readonly #replaced: [RegExp, string][]

  private constructor(replaced: [RegExp, string][]) {
    this.#replaced = replaced
  }

  /** `names`: texts of the page that stand for something else here, such as addresses. */
  static async start(names: Readonly<Record<string, string>>): Promise<Machine> {
    const replaced = Object.entries(names).map(([name, value]): [RegExp, string] => [
      new RegExp(name.replaceAll('.', '\\.'), 'g'),
      value,
    ])
    const machine = new Machine(replaced)
    machine.#program('inmesh', `exec "${process.execPath}" "${MAIN}" "$@"`)
    machine.#program('systemctl', `exec "${process.execPath}" "${SYSTEMCTL}" "${machine.root}" "$@"`)
    // The user of the test does everything.
    machine.#program('sudo', 'if [ "$1" = -u ]; then shift 2; fi\nexec "$@"')
    machine.#program('useradd', 'test $# -gt 1')
    machine.#program(
      'install',
      `set -- "$@" --
while [ "$1" != -- ]; do
  case "$1" in -o | -g) shift ;; *) set -- "$@" "$1" ;; esac
  shift
done
shift
exec /usr/bin/install "$@"`,
    )
    mkdirSync(machine.path('/home'), { recursive: true })
    for (const directory of ['/var/lib', '/var/backups', '/etc/systemd/system']) {
      mkdirSync(machine.path(directory), { recursive: true })
    }
    return machine
  }

  path(path: string): string {
    return join(this.root, path)
  }

  /** What the page says, as it is here. */
  translate(text: string): string {
    let translated = text.replace(/(?<![\w./-])\/(var|etc)\//g, `${this.root}/$1/`)
    translated = translated.replaceAll('/usr/bin/inmesh', this.path('bin/inmesh'))
    for (const [name, value] of this.#replaced) translated = translated.replace(name, value)
    return translated
  }

  /** Files of the page, by their paths. */
  write(files: ReadonlyMap<string, string>): void {
    for (const [path, text] of files) {
      const place = this.path(path)
      mkdirSync(dirname(place), { recursive: true })
      writeFileSync(place, this.translate(text))
    }
  }

  /** One shell runs all of them, and ends at the first command that fails. */
  async run(blocks: readonly Block[]): Promise<Outcome> {
    const script = blocks.map(({ line, text }) => `echo '== line ${line}'\n${this.translate(text)}`).join('\n')
    const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: this.path('/home'),
      env: { ...process.env, PATH: `${this.path('bin')}:${process.env.PATH}`, HOME: this.path('/home'), NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    const add = (chunk: Buffer): void => {
      output += chunk
    }
    child.stdout.on('data', add)
    child.stderr.on('data', add)
    const [code] = (await once(child, 'close')) as [number | null]
    return { code, output }
  }

  /** Ends the units that run. */
  close(): void {
    const pids = this.path('run')
    if (existsSync(pids)) {
      for (const pid of readFileSync(pids, 'utf8').split('\n').filter(Boolean)) {
        try {
          process.kill(Number(pid), 'SIGKILL')
        } catch {
          // It has ended.
        }
      }
    }
    rmSync(this.root, { recursive: true, force: true })
  }

  #program(name: string, text: string): void {
    mkdirSync(this.path('bin'), { recursive: true })
    writeFileSync(this.path(`bin/${name}`), `#!/bin/sh\n${text}\n`)
    chmodSync(this.path(`bin/${name}`), 0o755)
  }
}
