/**
 * Processes of the demo and of `npm run compare`: started, spoken to, killed in three ways, and
 * never left behind.
 */
import { type ChildProcess, execFile, fork, type Serializable, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { etcdArguments, isHealthy } from './etcd.ts'
import type { Report } from './services/parent.ts'

const COMMAND_LINE = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const READY_BOUND_MS = 60_000
/** Below those that a system gives out by itself: no program takes one while a registry is away. */
const [FIRST_PORT, LAST_PORT] = [10_000, 32_000] as const
/** On a machine that starts ten processes at once, joining takes longer than the default bound. */
export const JOIN_TIMEOUT = '30s'
const REPORT_BOUND_MS = 10_000
/**
 * Of util-linux: has the kernel kill a process when the one that started it ends, however that
 * happens.
 */
const SETPRIV = '/usr/bin/setpriv'

/** Those that come in two kinds; prices speaks both. */
const BY_GRPC: ReadonlySet<string> = new Set(['storefront', 'inventory'])

export class Processes {
  readonly #grpc: boolean
  readonly directory = mkdtempSync(join(tmpdir(), 'inmesh-demo-'))
  readonly #children = new Map<string, ChildProcess>()
  readonly #tokens = new Map<string, string>()
  /** Of the registries. */
  #ports: readonly number[] = []
  /** Of the page of the mesh, at the first registry. */
  #uiPort = 0
  /** `--store` of the registries, if they share one. */
  #store: readonly string[] = []
  readonly log: string[] = []

  /** `grpc`: between the services. */
  constructor(grpc = false) {
    this.#grpc = grpc
    chmodSync(this.directory, 0o700)
    process.once('exit', () => this.killAll())
  }

  /** Of all registries, separated by commas. */
  get registryUrl(): string {
    return this.#ports.map((port) => `https://127.0.0.1:${port}`).join(',')
  }

  /** The names of the registries. */
  get registries(): readonly string[] {
    return this.#ports.length === 1 ? ['registry'] : this.#ports.map((_, i) => `registry-${i + 1}`)
  }

  /** Starts this many registries; several share a store in etcd, of which one node is started. */
  async startRegistries(count: number): Promise<void> {
    this.#ports = await freePorts(count)
    if (count > 1) {
      const [port, peerPort] = (await freePorts(2)) as [number, number]
      this.spawn('etcd', 'etcd', etcdArguments(join(this.directory, 'etcd'), port, peerPort))
      await within(READY_BOUND_MS, 'etcd', this.#healthy(port))
      this.#store = ['--store', `etcd://127.0.0.1:${port}`]
    }
    const [first, ...others] = this.registries
    // The first one makes the authority and the admin token of all.
    await this.startRegistry(first)
    await Promise.all(others.map((name) => this.startRegistry(name)))
  }

  /** The address of the page, and a token for it. */
  async page(): Promise<{ url: string; token: string }> {
    const { token } = (await this.inmesh('token', 'operator', 'create', 'demo')) as { token: string }
    return { url: `http://127.0.0.1:${this.#uiPort}/ui/`, token }
  }

  /** Starts a registry, on the same directory and port each time. */
  async startRegistry(name = 'registry'): Promise<void> {
    if (this.#ports.length === 0) this.#ports = await freePorts(1)
    const isFirst = name === this.registries[0]
    if (isFirst && this.#uiPort === 0) this.#uiPort = await freePort()
    const port = String(this.#ports[this.registries.indexOf(name)])
    const page = isFirst ? ['--ui', String(this.#uiPort)] : []
    const args = ['registry', '--port', port, '--data-dir', join(this.directory, name), ...page, ...this.#store]
    const child = this.spawn(name, process.execPath, [COMMAND_LINE, ...args, '--json'])
    await within(READY_BOUND_MS, name, firstLine(child))
  }

  async #healthy(port: number): Promise<void> {
    while (!(await isHealthy(port))) {
      if (this.find('etcd') === undefined) throw new Error(`etcd has ended: ${this.log.slice(-5).join('\n')}`)
      await wait(100)
    }
  }

  /** A token that lets up to 50 processes join as `service`. */
  async joinToken(service: string): Promise<string> {
    let token = this.#tokens.get(service)
    if (token === undefined) {
      const created = await this.inmesh('token', 'create', '--service', service, '--uses', '50', '--ttl', '1h')
      token = (created as { token: string }).token
      this.#tokens.set(service, token)
    }
    return token
  }

  /** Runs one `inmesh` command against the registry, as an operator would. */
  async inmesh(...args: string[]): Promise<unknown> {
    const { stdout } = await promisify(execFile)(process.execPath, [COMMAND_LINE, ...args, '--json'], {
      env: {
        ...process.env,
        INMESH_REGISTRY: this.registryUrl,
        INMESH_ADMIN_TOKEN: readFileSync(join(this.directory, this.registries[0]!, 'admin-token'), 'utf8').trim(),
      },
    })
    return JSON.parse(stdout)
  }

  async startService(service: string, name: string): Promise<void> {
    const env = { DEMO_NAME: name, ...(await this.joining(service, name)) }
    const program = this.#grpc && BY_GRPC.has(service) ? `${service}-grpc` : service
    await this.fork(name, new URL(`./services/${program}.ts`, import.meta.url), env)
  }

  /** What a process needs in its environment to join as `service`. */
  async joining(service: string, name: string): Promise<Record<string, string>> {
    return {
      INMESH_REGISTRY: this.registryUrl,
      INMESH_JOIN_TOKEN: await this.joinToken(service),
      INMESH_JOIN_TIMEOUT: JOIN_TIMEOUT,
      INMESH_STATE_DIR: join(this.directory, name),
    }
  }

  /**
   * Starts a module of ours, which must follow its parent; resolves with the first message it
   * sends.
   */
  async fork(name: string, module: URL, env: Readonly<Record<string, string>> = {}): Promise<unknown> {
    const child = fork(fileURLToPath(module), {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    this.#keep(name, child)
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`${name} exited with code ${code} before it was ready`)
    })
    const [message] = await within(READY_BOUND_MS, name, Promise.race([once(child, 'message'), ended]))
    return message
  }

  /** Starts a program that knows nothing of us. */
  spawn(name: string, command: string, args: readonly string[]): ChildProcess {
    const [file, ...all] = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', command, ...args] : [command, ...args]
    const child = spawn(file!, all, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#keep(name, child)
    return child
  }

  /** The process that runs under this name; `undefined` if none does. */
  find(name: string): ChildProcess | undefined {
    const child = this.#children.get(name)
    return child === undefined || child.exitCode !== null || child.signalCode !== null ? undefined : child
  }

  tell(name: string, command: Serializable): void {
    this.#children.get(name)?.send(command)
  }

  /** Retries and circuits of one process; `undefined` if it does not answer in time. */
  async report(name: string): Promise<Report | undefined> {
    const child = this.#children.get(name)
    if (child === undefined || !child.connected) return undefined
    const late = new AbortController()
    const giveUp = (): void => late.abort()
    const timer = setTimeout(giveUp, REPORT_BOUND_MS)
    child.once('exit', giveUp)
    const answer = once(child, 'message', { signal: late.signal })
    child.send('report', () => undefined)
    try {
      const [report] = await answer
      return report as Report
    } catch {
      return undefined
    } finally {
      clearTimeout(timer)
      child.off('exit', giveUp)
    }
  }

  /** No chance to say goodbye. */
  async kill(name: string): Promise<void> {
    await this.#stop(name, 'SIGKILL')
  }

  /** The orderly way: it drains, then exits by itself. */
  async terminate(name: string): Promise<void> {
    await this.#stop(name, 'SIGTERM')
  }

  killAll(): void {
    for (const child of this.#children.values()) child.kill('SIGKILL')
    this.#children.clear()
    rmSync(this.directory, { recursive: true, force: true })
  }

  async #stop(name: string, signal: NodeJS.Signals): Promise<void> {
    const child = this.find(name)
    if (child === undefined) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await within(60_000, `${name} to exit`, exited)
  }

  #keep(name: string, child: ChildProcess): void {
    this.#children.set(name, child)
    const keep = (chunk: Buffer): void => {
      this.log.push(`${name}: ${chunk.toString('utf8').trim()}`)
      if (this.log.length > 500) this.log.shift()
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    child.once('exit', (code, signal) => {
      if (code !== 0 && code !== null) this.log.push(`${name}: exited with code ${code}${signal ? ` (${signal})` : ''}`)
    })
  }
}

async function firstLine(child: ChildProcess): Promise<void> {
  await Promise.race([
    once(child.stdout!, 'data'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`exited with code ${code}`)
    }),
  ])
}

/** Rejects if `work` takes longer. */
export async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${ms / 1000} s`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

export async function freePort(): Promise<number> {
  const [port] = await freePorts(1)
  return port!
}

/** Different ones, because all are held until the last is found. */
async function freePorts(count: number): Promise<number[]> {
  const servers: net.Server[] = []
  const ports: number[] = []
  while (ports.length < count) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT))
    const server = net.createServer().listen(port, '127.0.0.1')
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    )
    if (!isFree) continue
    servers.push(server)
    ports.push(port)
  }
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}
