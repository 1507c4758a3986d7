/**
 * Watches how many instances of a service a process knows: at each configuration that comes into
 * force, which shows one that vanishes for an instant, and every 100 ms.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Mesh } from '../../src/index.ts'

/** Each look makes all metrics: every 10 ms, that took a tenth of a core in each process. */
const EVERY_MS = 100

/** Known instances, whatever their state. */
export function endpointsOf(mesh: Mesh, service: string): number {
  const line = new RegExp(`^inmesh_client_endpoints\\{.*peer="${service}".*\\} (\\d+)$`, 'gm')
  return [...mesh.metrics().matchAll(line)].reduce((sum, [, count]) => sum + Number(count), 0)
}

export class Observer {
  readonly #mesh: Mesh
  readonly #service: string
  readonly #timer = setInterval(() => this.look(), EVERY_MS)
  readonly #applied = (): void => this.look()
  /** Since {@link expect}. */
  least = Number.POSITIVE_INFINITY

  /** `service` is watched as one that is called. */
  constructor(mesh: Mesh, service: string) {
    this.#mesh = mesh
    this.#service = service
    mesh.http(service)
    subscribe('inmesh:snapshot:applied', this.#applied)
  }

  get now(): number {
    return endpointsOf(this.#mesh, this.#service)
  }

  look(): void {
    this.least = Math.min(this.least, this.now)
  }

  /** From here on, {@link least} counts. */
  begin(): void {
    this.least = this.now
  }

  stop(): void {
    clearInterval(this.#timer)
    unsubscribe('inmesh:snapshot:applied', this.#applied)
  }
}
