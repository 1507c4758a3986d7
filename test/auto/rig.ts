/** Runs programs that know nothing of the mesh under `inmesh/auto`, from its source. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const AUTO = new URL('../../src/auto/index.ts', import.meta.url).href

export const PROTO = programPath('shop.proto')

export function programPath(name: string): string {
  return fileURLToPath(new URL(`./programs/${name}`, import.meta.url))
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export class Program {
  readonly #child: ChildProcess
  readonly #lines: unknown[] = []
  readonly #waiting = new Set<() => void>()
  complaints = ''
  readonly ended: Promise<Ended>

  /** `args`: of node; `environment`: the `INMESH_*` variables. */
  constructor(args: readonly string[], environment: Readonly<Record<string, string>>) {
    const own = Object.entries(process.env).filter(([name]) => !/^(?:INMESH_|NODE_OPTIONS)/.test(name))
    const child = spawn(process.execPath, ['--no-warnings', '--import', AUTO, ...args], {
      env: { ...Object.fromEntries(own), ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    createInterface(child.stdout!).on('line', (line) => {
      this.#lines.push(JSON.parse(line))
      for (const look of this.#waiting) look()
    })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.complaints += text
      for (const look of this.#waiting) look()
    })
    this.ended = once(child, 'close').then(([code, signal]) => ({ code, signal }) as Ended)
  }

  get pid(): number {
    return this.#child.pid!
  }

  get lines(): readonly unknown[] {
    return this.#lines
  }

  /** Resolves with the first `count` lines of stdout; rejects if it ends before. */
  async printed<T>(count: number): Promise<T[]> {
    await this.#until(() => this.#lines.length >= count)
    return this.#lines as T[]
  }

  /** Resolves when stderr matches. */
  async complained(pattern: RegExp): Promise<void> {
    await this.#until(() => pattern.test(this.complaints))
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }

  #until(isSo: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (!isSo()) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      void this.ended.then(({ code, signal }) => {
        look()
        reject(new Error(`ended with ${code ?? signal}: ${this.complaints}`))
      })
      look()
    })
  }
}
