/**
 * A copy of a project with a separate lock file, which has the packed tarball of this repository
 * installed, as its users would have.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const NOT_COPIED = new Set(['node_modules', 'dist', '.next'])
/** Only a command that fails takes longer. */
const LONGEST_MS = 500_000
const execute = promisify(execFile)

export class Project {
  readonly path: string
  readonly #processes: ChildProcess[] = []

  constructor(path: string) {
    this.path = path
  }

  /** Copies `folder` (from the root of the repository) and installs it, with `inmesh` packed. */
  static async install(folder: string): Promise<Project> {
    const path = mkdtempSync(join(tmpdir(), `inmesh-${basename(folder)}-`))
    const project = new Project(path)
    cpSync(join(ROOT, folder), path, { recursive: true, filter: (source) => !NOT_COPIED.has(basename(source)) })
    const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', path]
    const [{ filename }] = JSON.parse((await execute('npm', pack, { cwd: ROOT })).stdout)
    const quiet = ['--no-audit', '--no-fund', '--prefer-offline']
    await project.run('npm', ['ci', ...quiet])
    await project.run('npm', ['install', '--no-save', ...quiet, `./${filename}`])
    return project
  }

  /** Runs a command to its end. @throws Error with everything that it printed */
  async run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
    const options = { cwd: this.path, env: this.#env(env), timeout: LONGEST_MS, maxBuffer: 2 ** 26 }
    try {
      const { stdout, stderr } = await execute(command, args, options)
      return stdout + stderr
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string }
      throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`, { cause: error })
    }
  }

  /** Starts a program of Node that goes on. */
  start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
    const child = spawn(process.execPath, args, {
      cwd: this.path,
      env: this.#env(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#processes.push(child)
    return new Running(child)
  }

  remove(): void {
    for (const child of this.#processes) child.kill('SIGKILL')
    rmSync(this.path, { recursive: true, force: true })
  }

  /** What this machine says about a mesh is not for the project, nor are the settings of a test runner. */
  #env(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
    const own = Object.entries(process.env).filter(([name]) => !/^(?:INMESH_|VITEST|NODE_ENV$|NEXT_)/.test(name))
    return { ...Object.fromEntries(own), ...env }
  }
}

/** A process and what it has printed. */
export class Running {
  output = ''
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown[]>

  constructor(child: ChildProcess) {
    this.#child = child
    this.#ended = once(child, 'close')
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
        child.emit('printed')
      })
    }
  }

  /** @throws Error if the process ends, or a minute passes, before it has printed this */
  async printed(pattern: RegExp): Promise<RegExpMatchArray> {
    const signal = AbortSignal.timeout(60_000)
    for (;;) {
      const found = this.output.match(pattern)
      if (found !== null) return found
      if (this.#child.exitCode !== null || signal.aborted)
        throw new Error(`${pattern} was not printed:\n${this.output}`)
      const printed = once(this.#child, 'printed', { signal }).catch(() => undefined)
      await Promise.race([printed, this.#ended])
    }
  }

  /** Resolves with its exit code and signal. */
  get ended(): Promise<unknown[]> {
    return this.#ended
  }

  /** Sends the signal, and resolves as {@link ended}. */
  async end(signal: NodeJS.Signals): Promise<unknown[]> {
    this.#child.kill(signal)
    return this.#ended
  }
}
