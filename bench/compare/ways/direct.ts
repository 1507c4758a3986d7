/**
 * No mesh: checkout calls three fixed addresses in turn, in plain text or over mutual TLS. No
 * retries and no health checks.
 */
import type { Processes } from '../../../examples/demo/processes.ts'
import type { Certificates } from './certificates.ts'
import { freePort } from './ports.ts'
import { BACKENDS, Way } from './way.ts'

export class Direct extends Way {
  readonly name: 'direct' | 'direct-mtls'
  readonly hops = 1
  readonly #certificates: Certificates | undefined
  readonly #ports: number[] = []

  constructor(processes: Processes, certificates?: Certificates) {
    super(processes)
    this.name = certificates === undefined ? 'direct' : 'direct-mtls'
    this.#certificates = certificates
  }

  async start(): Promise<void> {
    for (const i of BACKENDS) this.#ports[i - 1] = await freePort()
    await Promise.all(BACKENDS.map((i) => this.startBackend(i)))
    await this.forkClient({ ports: this.#ports, tls: this.#tls('client') })
  }

  async startBackend(i: number): Promise<void> {
    await this.forkBackend(i, { port: this.#ports[i - 1], tls: this.#tls('server') })
  }

  async killControl(): Promise<void> {}

  protected beside(): [] {
    return []
  }

  #tls(side: 'client' | 'server'): object | undefined {
    const all = this.#certificates
    return all === undefined ? undefined : { ...all[side], ca: all.ca }
  }
}
