/** Which of the ports that the application listens on are the service's. */
import type { AddressInfo } from 'node:net'
import type { AutoHost } from './auto-host.ts'

export class ServicePorts {
  readonly #kind: string
  readonly #host: AutoHost
  readonly #holders = new Map<number, object>()

  /** `kind`: of the servers, for people. */
  constructor(kind: string, host: AutoHost) {
    this.#kind = kind
    this.#host = host
  }

  /** Whether `server` serves the mesh. Without a list, the first one does. */
  claim(server: object, address: AddressInfo): boolean {
    const { port } = address
    const { ports } = this.#host.settings
    // `localhost` may be two addresses, with a server for each; one of them is announced.
    if (this.#holders.has(port)) return false
    const taken = ports === undefined ? this.#holders.size === 0 : ports.includes(port)
    if (taken) this.#holders.set(port, server)
    else {
      const others = ports ?? [...this.#holders.keys()]
      const hint = `the service is on port ${others.join(', ')}; INMESH_AUTO_PORTS names the ports to mesh`
      this.#host.report.tell(`not meshed: ${this.#kind} on ${addressText(address)}: ${hint}`)
    }
    return taken
  }

  release(server: object): void {
    for (const [port, holder] of this.#holders) if (holder === server) this.#holders.delete(port)
  }
}

export function addressText({ address, port }: AddressInfo): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
