/**
 * A registry on a store that can be replaced under it. With each history of the store it begins
 * anew, on its port, as after a restart.
 */
import type { Clock } from '../core/clock.ts'
import type { Logger } from './log.ts'
import type { Registry } from './running-registry.ts'

const RETRY_MS = 1_000

/** Starts on the store as it is; `over` is called when the store begins another history. */
export type Begin = (port: number | undefined, over: () => void) => Promise<Registry>

export class LastingRegistry implements Registry {
  readonly #begin: Begin
  readonly #clock: Clock
  readonly #log: Logger
  #current!: Registry
  /** The store of the current one has begun another history. */
  #isOver = false
  #renewing: Promise<void> | undefined
  #closing: Promise<void> | undefined

  /** @throws what `begin` throws */
  static async start(begin: Begin, clock: Clock, log: Logger): Promise<LastingRegistry> {
    const registry = new LastingRegistry(begin, clock, log)
    registry.#current = await begin(undefined, () => registry.#over())
    if (registry.#isOver) registry.#over()
    return registry
  }

  private constructor(begin: Begin, clock: Clock, log: Logger) {
    this.#begin = begin
    this.#clock = clock
    this.#log = log
  }

  get id(): string {
    return this.#current.id
  }

  get url(): string {
    return this.#current.url
  }

  get port(): number {
    return this.#current.port
  }

  get uiUrl(): string {
    return this.#current.uiUrl
  }

  get trustDomain(): string {
    return this.#current.trustDomain
  }

  get roots(): readonly string[] {
    return this.#current.roots
  }

  get rootFingerprint(): string {
    return this.#current.rootFingerprint
  }

  get adminToken(): string | undefined {
    return this.#current.adminToken
  }

  get dev(): boolean {
    return this.#current.dev
  }

  get epoch(): string {
    return this.#current.epoch
  }

  get revision(): number {
    return this.#current.revision
  }

  get counts(): Registry['counts'] {
    return this.#current.counts
  }

  createJoinToken(options: Parameters<Registry['createJoinToken']>[0]): Promise<string> {
    return this.#current.createJoinToken(options)
  }

  applyPolicies(documents: readonly unknown[]): ReturnType<Registry['applyPolicies']> {
    return this.#current.applyPolicies(documents)
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#renewing
      await this.#current.close()
    })()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #over(): void {
    this.#isOver = true
    if (this.#current === undefined) return
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined
    })
  }

  async #renew(): Promise<void> {
    const { port } = this.#current
    while (this.#isOver && this.#closing === undefined) {
      try {
        this.#log.warn({ port }, 'the store was replaced by a backup; the registry begins anew with it')
        await this.#current.close()
        this.#isOver = false
        this.#current = await this.#begin(port, () => this.#over())
      } catch (error) {
        this.#isOver = true
        this.#log.error({ reason: (error as Error).message }, 'the registry cannot begin anew; it tries again')
        await new Promise<void>((resolve) => this.#clock.startTimer(RETRY_MS, () => resolve(), undefined))
      }
    }
  }
}
