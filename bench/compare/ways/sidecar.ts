/**
 * A pair of proxies between the services, as in sidecar meshes. The caller's proxy balances,
 * retries and speaks mutual TLS; the instance's proxy authorizes the caller.
 */
import { execFileSync } from 'node:child_process'
import { setTimeout as wait } from 'node:timers/promises'
import type { Processes } from '../../../examples/demo/processes.ts'
import type { Certificates } from './certificates.ts'
import { freePort, listening } from './ports.ts'
import { BACKENDS, type Role, Way } from './way.ts'

/** A proxy program: how it is configured, how it is run. */
export interface SidecarProxy {
  readonly program: 'haproxy' | 'envoy'
  /** What it says of its version. */
  readonly version: string
  /** Writes the configuration of checkout's proxy and says how to start it. */
  outbound(directory: string, setting: OutboundSetting): readonly string[]
  /** The same for the proxy of one instance. */
  inbound(directory: string, setting: InboundSetting): readonly string[]
  /** How to have a configuration checked; throws if it is wrong. */
  check(args: readonly string[]): void
}

export interface OutboundSetting {
  readonly port: number
  readonly inboundPorts: readonly number[]
  readonly certificates: Certificates
}

export interface InboundSetting {
  readonly i: number
  readonly port: number
  readonly appPort: number
  readonly certificates: Certificates
}

/** How long a killed proxy is away: a supervisor starts it again at once, and we are generous. */
const AWAY_MS = 1_000

export class Sidecar extends Way {
  readonly name = 'sidecar'
  readonly hops = 3
  readonly #proxy: SidecarProxy
  readonly #certificates: Certificates
  readonly #appPorts: number[] = []
  readonly #inboundPorts: number[] = []
  #outboundPort = 0

  constructor(processes: Processes, proxy: SidecarProxy, certificates: Certificates) {
    super(processes)
    this.#proxy = proxy
    this.#certificates = certificates
  }

  async start(): Promise<void> {
    this.#outboundPort = await freePort()
    for (const i of BACKENDS) {
      this.#appPorts[i - 1] = await freePort()
      this.#inboundPorts[i - 1] = await freePort()
    }
    await Promise.all(BACKENDS.map((i) => this.startBackend(i)))
    await Promise.all(BACKENDS.map((i) => this.#startInbound(i)))
    await this.#startOutbound()
    await this.forkClient({ ports: [this.#outboundPort] })
  }

  async startBackend(i: number): Promise<void> {
    await this.forkBackend(i, { port: this.#appPorts[i - 1] })
  }

  async killControl(): Promise<void> {
    await this.processes.kill('proxy-out')
    await wait(AWAY_MS)
    await this.#startOutbound()
    await wait(AWAY_MS)
    await this.processes.kill('proxy-in-1')
    await wait(AWAY_MS)
    await this.#startInbound(1)
  }

  protected beside(): { role: Role; name: string }[] {
    return [
      { role: 'proxies', name: 'proxy-out' },
      ...BACKENDS.map((i) => ({ role: 'proxies' as Role, name: `proxy-in-${i}` })),
    ]
  }

  async #startOutbound(): Promise<void> {
    const port = this.#outboundPort
    const setting = { port, inboundPorts: this.#inboundPorts, certificates: this.#certificates }
    await this.#startProxy('proxy-out', this.#proxy.outbound(this.processes.directory, setting), port)
  }

  async #startInbound(i: number): Promise<void> {
    const port = this.#inboundPorts[i - 1]!
    const setting = { i, port, appPort: this.#appPorts[i - 1]!, certificates: this.#certificates }
    await this.#startProxy(`proxy-in-${i}`, this.#proxy.inbound(this.processes.directory, setting), port)
  }

  async #startProxy(name: string, args: readonly string[], port: number): Promise<void> {
    this.#proxy.check(args)
    this.processes.spawn(name, this.#proxy.program, args)
    await listening(port)
  }
}

/** What `program --version` says in its first line; `undefined` if there is no such program. */
export function versionOf(program: string, flag: string): string | undefined {
  try {
    return execFileSync(program, [flag], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
      .split('\n')
      .find((line) => line.trim() !== '')
      ?.trim()
  } catch {
    return undefined
  }
}
