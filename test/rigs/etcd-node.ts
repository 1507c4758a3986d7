/** One etcd process: started, killed, started again on its data; gone when this process is gone. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync } from 'node:fs'
import { promisify } from 'node:util'

/** Of util-linux: has the kernel kill a process when the one that started it ends. */
const SETPRIV = '/usr/bin/setpriv'
const READY_MS = 60_000

export interface EtcdNodeOptions {
  readonly name: string
  readonly dataDir: string
  readonly ports: EtcdPorts
  /** Of `--initial-cluster`: `name=url,...`. */
  readonly cluster: string
  readonly scheme: 'http' | 'https'
  readonly args: readonly string[]
}

export interface EtcdPorts {
  readonly client: number
  readonly peer: number
  /** Answers `/health` without TLS. */
  readonly metrics: number
}

export class EtcdNode {
  readonly name: string
  readonly #options: EtcdNodeOptions
  #child: ChildProcess | undefined
  #log = ''

  constructor(options: EtcdNodeOptions) {
    this.#options = options
    this.name = options.name
  }

  /** `host:port`, past any gate. */
  get endpoint(): string {
    return `127.0.0.1:${this.port}`
  }

  get port(): number {
    return this.#options.ports.client
  }

  get dataDir(): string {
    return this.#options.dataDir
  }

  /** Puts a snapshot in the place of the data of a node that does not run. */
  async restore(snapshot: string): Promise<void> {
    if (this.running) throw new Error(`${this.name} runs`)
    const { name, dataDir, ports, cluster } = this.#options
    rmSync(dataDir, { recursive: true, force: true })
    const members = ['--initial-cluster', cluster, '--initial-cluster-token', `${cluster} restored`]
    const own = [
      '--name',
      name,
      '--data-dir',
      dataDir,
      '--initial-advertise-peer-urls',
      `http://127.0.0.1:${ports.peer}`,
    ]
    const env = { PATH: process.env.PATH, ETCDCTL_API: '3' }
    await promisify(execFile)('etcdctl', ['snapshot', 'restore', snapshot, ...own, ...members], { env })
  }

  get running(): boolean {
    const child = this.#child
    return child !== undefined && child.exitCode === null && child.signalCode === null
  }

  /** The last of what it wrote. */
  get log(): string {
    return this.#log
  }

  /** Starts the process; {@link healthy} says when it takes writes. */
  start(): void {
    if (this.running) throw new Error(`${this.name} runs already`)
    const [command, ...args] = this.#command()
    const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH } })
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#log = (this.#log + chunk).slice(-20_000)
      })
    }
    child.once('error', (error) => {
      this.#log += `${error.message}\n`
    })
    this.#child = child
  }

  async signal(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (!this.running || child === undefined) return
    const exited = once(child, 'exit')
    child.kill(signal)
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await exited
  }

  /** kill -9: no chance to say goodbye. */
  kill(): Promise<void> {
    return this.signal('SIGKILL')
  }

  /** Resolves when the node has a leader and takes writes. */
  async healthy(timeoutMs = READY_MS): Promise<void> {
    const until = performance.now() + timeoutMs
    while (!(await this.#answersHealthy())) {
      if (!this.running) throw new Error(`${this.name} has ended: ${this.#log}`)
      if (performance.now() > until) throw new Error(`${this.name} is not healthy after ${timeoutMs} ms: ${this.#log}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async #answersHealthy(): Promise<boolean> {
    try {
      const url = `http://127.0.0.1:${this.#options.ports.metrics}/health`
      const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) })
      return ((await answer.json()) as { health: string }).health === 'true'
    } catch {
      return false
    }
  }

  #command(): readonly string[] {
    const { name, dataDir, ports, cluster, scheme, args } = this.#options
    const client = `${scheme}://127.0.0.1:${ports.client}`
    const peer = `http://127.0.0.1:${ports.peer}`
    const etcd = [
      ...['etcd', '--name', name, '--data-dir', dataDir, '--logger', 'zap', '--log-level', 'warn'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--listen-metrics-urls', `http://127.0.0.1:${ports.metrics}`],
      ...['--initial-cluster', cluster, '--initial-cluster-token', cluster, '--initial-cluster-state', 'new'],
      ...['--heartbeat-interval', '100', '--election-timeout', '1000'],
      ...args,
    ]
    return existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', ...etcd] : etcd
  }
}
