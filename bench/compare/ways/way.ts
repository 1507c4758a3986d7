/**
 * The interface of all ways of calling: one `checkout`, three instances of `inventory`, and faults.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Processes } from '../../../examples/demo/processes.ts'

export const WAYS = ['direct', 'direct-mtls', 'sidecar', 'inmesh'] as const
export type WayName = (typeof WAYS)[number]

export const BACKENDS = [1, 2, 3] as const

/** Who uses CPU and memory. */
export const ROLES = ['client', 'backends', 'proxies', 'registry'] as const
export type Role = (typeof ROLES)[number]

/** A fault of one instance; an absent field is normal. */
export interface Illness {
  readonly delayMs?: number
  /** Share of requests that are answered 503. */
  readonly failShare?: number
}

export abstract class Way {
  abstract readonly name: WayName
  /** Connections that a request crosses from checkout to inventory. */
  abstract readonly hops: number
  protected readonly processes: Processes
  #origin = ''

  constructor(processes: Processes) {
    this.processes = processes
  }

  /** Where checkout listens. */
  get origin(): string {
    return this.#origin
  }

  /** Starts all processes; resolves when checkout can be asked. */
  abstract start(): Promise<void>

  /** Starts instance `i`, or starts it again where it was. */
  abstract startBackend(i: number): Promise<void>

  /**
   * Kills what stands beside the services, for about half of `seconds`, and starts it again;
   * nothing where there is no such thing.
   */
  abstract killControl(seconds: number): Promise<void>

  /** Names of the processes that stand beside the services. */
  protected abstract beside(): readonly { readonly role: Role; readonly name: string }[]

  async killBackend(i: number): Promise<void> {
    await this.processes.kill(this.backend(i))
  }

  /** The orderly way: it says that it leaves, then leaves. */
  async terminateBackend(i: number): Promise<void> {
    await this.processes.terminate(this.backend(i))
  }

  tellBackend(i: number, illness: Illness): void {
    this.processes.tell(this.backend(i), { ...illness })
  }

  /** The processes that run now. */
  running(): { readonly role: Role; readonly pid: number }[] {
    const all = [
      { role: 'client' as Role, name: `${this.name}-checkout` },
      ...BACKENDS.map((i) => ({ role: 'backends' as Role, name: this.backend(i) })),
      ...this.beside(),
    ]
    return all.flatMap(({ role, name }) => {
      const pid = this.processes.find(name)?.pid
      return pid === undefined ? [] : [{ role, pid }]
    })
  }

  /** Ids of all requests that have reached an instance so far, once for each time. */
  ledger(): string[] {
    return BACKENDS.flatMap((i) => {
      const path = this.#ledgerOf(i)
      return existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : []
    })
  }

  protected backend(i: number): string {
    return `${this.name}-inventory-${i}`
  }

  protected async forkBackend(i: number, settings: object, env: Readonly<Record<string, string>> = {}): Promise<void> {
    const name = this.backend(i)
    const all = { way: this.name, name, ledger: this.#ledgerOf(i), ...settings }
    await this.processes.fork(name, new URL('../services/backend.js', import.meta.url), {
      ...env,
      COMPARE: JSON.stringify(all),
    })
  }

  protected async forkClient(settings: object, env: Readonly<Record<string, string>> = {}): Promise<void> {
    const ready = await this.processes.fork(
      `${this.name}-checkout`,
      new URL('../services/client.js', import.meta.url),
      { ...env, COMPARE: JSON.stringify({ way: this.name, ...settings }) },
    )
    this.#origin = `http://127.0.0.1:${(ready as { port: number }).port}`
  }

  #ledgerOf(i: number): string {
    return join(this.processes.directory, `${this.backend(i)}.ledger`)
  }
}
