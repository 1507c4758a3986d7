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
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Report } from './services/parent.ts'

const COMMAND_LINE = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const READY_BOUND_MS = 30_000
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
  #registryUrl = ''
  #registryPort = 0
  readonly log: string[] = []

  /** `grpc`: between the services. */
  constructor(grpc = false) {
    this.#grpc = grpc
    chmodSync(this.directory, 0o700)
    process.once('exit', () => this.killAll())
  }

  get registryUrl(): string {
    return this.#registryUrl
  }

  /** Starts the registry, on the same directory and port each time. */
  async startRegistry(): Promise<void> {
    if (this.#registryPort === 0) this.#registryPort = await freePort()
    this.#registryUrl = `https://127.0.0.1:${this.#registryPort}`
    const args = ['registry', '--port', String(this.#registryPort), '--data-dir', join(this.directory, 'registry')]
    const child = this.spawn('registry', process.execPath, [COMMAND_LINE, ...args, '--json'])
    await within(READY_BOUND_MS, 'the registry', firstLine(child))
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
        INMESH_REGISTRY: this.#registryUrl,
        INMESH_ADMIN_TOKEN: readFileSync(join(this.directory, 'registry', 'admin-token'), 'utf8').trim(),
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
      INMESH_REGISTRY: this.#registryUrl,
      INMESH_JOIN_TOKEN: await this.joinToken(service),
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
    const answer = once(child, 'message', { signal: AbortSignal.timeout(1_000) })
    child.send('report', () => undefined)
    return answer.then(([report]) => report as Report).catch(() => undefined)
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
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
