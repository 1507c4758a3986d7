/**
 * Starts registries, meshes and child processes for one test; `close` ends and removes all of them.
 */
import { type ChildProcess, fork, type Serializable } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { joinMesh, type Mesh, type MeshOptions } from '../../src/index.ts'
import { type Registry, type RegistryOptions, startRegistry } from '../../src/registry/index.ts'
import { freePort } from '../rigs/free-ports.ts'

export class Rig {
  readonly directory = mkdtempSync(join(tmpdir(), 'inmesh-test-'))
  readonly #processes: Process[] = []
  readonly #closers: (() => unknown)[] = []

  /** A registry in this process, at a port that no other program takes while it is away. */
  async registry(options: RegistryOptions = {}): Promise<Registry> {
    const port = options.port ?? (await freePort())
    const registry = await startRegistry({ log: false, joinsPerSecond: 1_000, ...options, port })
    this.onClose(() => registry.close())
    return registry
  }

  /** A mesh in this process; it joins with a separate token unless the registry runs with `dev`. */
  async mesh(registry: Registry, service: string, options: Partial<MeshOptions> = {}): Promise<Mesh> {
    const joinToken = registry.dev ? undefined : await registry.createJoinToken({ service })
    return this.join({
      service,
      registry: registry.url,
      ...(joinToken === undefined ? {} : { joinToken }),
      ...options,
    })
  }

  async join(options: MeshOptions): Promise<Mesh> {
    const mesh = await joinMesh({ stateDir: 'memory', handleSignals: false, joinTimeout: '30s', ...QUICK, ...options })
    this.onClose(() => mesh.close())
    return mesh
  }

  /**
   * A process that runs `processes/<file>.ts`; resolves with it when it has sent its first message.
   */
  async start(
    file: string,
    options: Serializable,
    environment: Readonly<Record<string, string>> = {},
  ): Promise<Process> {
    const process = this.spawn(file, options, environment)
    await process.message(() => true)
    return process
  }

  /** The same without waiting. */
  spawn(file: string, options: Serializable, environment: Readonly<Record<string, string>> = {}): Process {
    const path = fileURLToPath(new URL(`./processes/${file}.ts`, import.meta.url))
    const child = fork(path, [JSON.stringify(options)], {
      execArgv: ['--no-warnings'],
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    const started = new Process(child)
    this.#processes.push(started)
    return started
  }

  /** Last registered, first called. */
  onClose(close: () => unknown): void {
    this.#closers.push(close)
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  /** The lines of a file that processes append to; none if it does not exist. */
  lines(name: string): string[] {
    return existsSync(this.path(name)) ? readFileSync(this.path(name), 'utf8').split('\n').filter(Boolean) : []
  }

  async close(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.kill()))
    for (const close of this.#closers.splice(0).reverse()) await close()
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** In a test no client is left that a drain would wait for. */
export const QUICK = { drainNotice: '500ms', drainTimeout: '2s' } as const

export class Process {
  readonly child: ChildProcess
  readonly messages: Record<string, unknown>[] = []
  output = ''
  readonly #exited: Promise<{ code: number | null; signal: NodeJS.Signals | null; at: number }>
  #wake: (() => void)[] = []
  #over = false

  constructor(child: ChildProcess) {
    this.child = child
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk
      })
    }
    child.on('message', (message) => {
      this.messages.push(message as Record<string, unknown>)
      for (const wake of this.#wake.splice(0)) wake()
    })
    this.#exited = once(child, 'exit').then(([code, signal]) => {
      this.#over = true
      for (const wake of this.#wake.splice(0)) wake()
      return { code, signal, at: performance.now() }
    })
  }

  get running(): boolean {
    return !this.#over
  }

  get exited(): Promise<{ code: number | null; signal: NodeJS.Signals | null; at: number }> {
    return this.#exited
  }

  tell(message: Serializable): void {
    this.child.send(message)
  }

  /** The first message from `from` on that fits, now or later. */
  async message(
    fits: (message: Record<string, unknown>) => boolean,
    from = 0,
    timeoutMs = 120_000,
  ): Promise<Record<string, unknown>> {
    const until = performance.now() + timeoutMs
    for (;;) {
      const found = this.messages.slice(from).find(fits)
      if (found !== undefined) return found
      if (this.#over) throw new Error(`the process has ended: ${this.output}`)
      if (performance.now() > until) throw new Error(`no such message in time: ${this.output}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 200)
        this.#wake.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  /** Asks, and resolves with the next message. */
  ask(message: Serializable): Promise<Record<string, unknown>> {
    const from = this.messages.length
    this.tell(message)
    return this.message(() => true, from)
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  async kill(): Promise<void> {
    if (!this.#over) this.child.kill('SIGKILL')
    await this.#exited
  }
}

/** Waits for what must come to be; fails with `what` if it does not. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 40_000,
): Promise<void> {
  const until = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > until) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** How often an event was emitted, including repetitions that the list of recent events merges. */
export function countOf(mesh: Mesh, event: string): number {
  const line = mesh
    .metrics()
    .split('\n')
    .find((one) => one.startsWith('inmesh_events_total{') && one.includes(`event="${event}"`))
  return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(' ')))
}
