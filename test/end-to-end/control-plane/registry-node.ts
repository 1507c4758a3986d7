/** One of several registries: the command in a process, with a way to etcd that a test closes. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { EtcdPaths } from '../../rigs/etcd.ts'
import { Process, type Rig } from '../rig.ts'

const COMMAND = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url))
const SETPRIV = '/usr/bin/setpriv'
const READY_MS = 60_000

export interface RegistryNodeOptions {
  readonly name: string
  readonly port: number
  readonly dataDir: string
  /** Of `--store`; absent: the embedded store in `dataDir`. */
  readonly store?: string
  readonly paths?: EtcdPaths
  readonly args: readonly string[]
}

export class RegistryNode {
  readonly name: string
  readonly #rig: Rig
  readonly #options: RegistryNodeOptions
  #process: Process | undefined

  constructor(rig: Rig, options: RegistryNodeOptions) {
    this.#rig = rig
    this.#options = options
    this.name = options.name
  }

  get url(): string {
    return `https://127.0.0.1:${this.#options.port}`
  }

  get dataDir(): string {
    return this.#options.dataDir
  }

  get running(): boolean {
    return this.#process?.running === true
  }

  /** What it logged since its last start. */
  get log(): string {
    return this.#process?.output ?? ''
  }

  /** Its way to etcd. */
  get paths(): EtcdPaths {
    if (this.#options.paths === undefined) throw new Error('there is no etcd')
    return this.#options.paths
  }

  /** Resolves when it is ready. */
  async start(): Promise<void> {
    const { port, dataDir, store, args } = this.#options
    const stored = store === undefined ? [] : ['--store', store]
    const own = ['registry', '--json', '--port', String(port), '--data-dir', dataDir, ...stored, ...args]
    const command = [process.execPath, '--no-warnings', COMMAND, ...own]
    const [file, ...rest] = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', ...command] : command
    const started = new Process(spawn(file!, rest, { stdio: ['ignore', 'pipe', 'pipe'] }))
    this.#rig.onClose(() => started.kill())
    this.#process = started
    const until = performance.now() + READY_MS
    while (!started.output.includes('"ready":true')) {
      if (!started.running) throw new Error(`${this.name} has ended: ${started.output}`)
      if (performance.now() > until) throw new Error(`${this.name} is not ready: ${started.output}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async kill(): Promise<void> {
    await this.#process?.kill()
  }

  /** As a deployment stops it; rejects unless it exits with 0. */
  async terminate(): Promise<void> {
    const leaving = this.#process!
    leaving.signal('SIGTERM')
    const { code } = await leaving.exited
    if (code !== 0) throw new Error(`${this.name} exited with ${code}: ${leaving.output}`)
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#process!.signal(signal)
  }
}
