/**
 * The library with its defaults: a registry process, join tokens, strict mutual TLS, default deny
 * with one intention.
 */

import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { BACKENDS, type Role, Way } from './way.ts'

const REGISTRY = 'registry'

export class Inmesh extends Way {
  readonly name = 'inmesh'
  readonly hops = 1

  async start(): Promise<void> {
    await this.processes.startRegistry()
    await this.processes.inmesh('apply', '-f', fileURLToPath(new URL('../policies.yaml', import.meta.url)))
    // One after the other: a token is made once and then kept.
    for (const service of ['inventory', 'checkout']) await this.processes.joinToken(service)
    await Promise.all(BACKENDS.map((i) => this.startBackend(i)))
    await this.forkClient({}, await this.processes.joining('checkout', 'checkout'))
  }

  async startBackend(i: number): Promise<void> {
    await this.forkBackend(i, {}, await this.processes.joining('inventory', this.backend(i)))
  }

  async killControl(seconds: number): Promise<void> {
    await this.processes.kill(REGISTRY)
    await wait(seconds * 500)
    await this.processes.startRegistry()
  }

  protected beside(): { role: Role; name: string }[] {
    return [{ role: 'registry', name: REGISTRY }]
  }
}
