/**
 * Follows the directory of `--ca-dir`: a new intermediate in it is published and then used, without
 * a restart.
 */
import type { Clock, Timer } from '../../core/clock.ts'
import { OptionsError } from '../../options/fields.ts'
import type { Logger } from '../log.ts'
import type { ResolvedRegistryOptions } from '../options.ts'
import type { RegistryState } from '../state.ts'
import type { RegistryAuthority } from './authority.ts'
import { ChainMistake } from './chain.ts'
import { type ExternalIssuers, readExternalIssuers, versionOf } from './external-issuer.ts'
import { belowKnown } from './rotation-commands.ts'
import { type Actor, publishAuthority } from './rotation-steps.ts'
import { trustedOf } from './succession.ts'

const LOOK_MS = 5_000

export class ExternalWatch {
  readonly #directory: string
  readonly #authority: RegistryAuthority
  readonly #actor: Actor
  readonly #clock: Clock
  readonly #log: Logger
  #version: string
  /** Could not be published yet, because another rotation is under way. */
  #waiting = false
  #timer: Timer | undefined
  #closed = false

  constructor(directory: string, authority: RegistryAuthority, actor: Actor, clock: Clock, log: Logger) {
    this.#directory = directory
    this.#authority = authority
    this.#actor = actor
    this.#clock = clock
    this.#log = log
    this.#version = versionOf(directory)
  }

  /** Publishes what the directory had at the start. @throws ChainMistake if it is an older one */
  async start(): Promise<void> {
    await this.#publish()
    this.#next()
  }

  close(): void {
    this.#closed = true
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
  }

  #next(): void {
    if (this.#closed) return
    const look = (): void => {
      this.#look()
        .catch((error: Error) => this.#log.error({ directory: this.#directory, reason: error.message }, 'not used'))
        .finally(() => this.#next())
    }
    this.#timer = this.#clock.startBackgroundTimer(LOOK_MS, look, undefined)
  }

  async #look(): Promise<void> {
    const version = versionOf(this.#directory)
    if (version === this.#version) {
      if (this.#waiting) await this.#publish()
      return
    }
    this.#version = version
    const { trustDomain } = this.#authority
    this.#authority.useExternal(readExternalIssuers(this.#directory, this.#clock.wallNow(), trustDomain))
    await this.#publish()
  }

  async #publish(): Promise<void> {
    const { store } = this.#authority
    const [external] = this.#authority.external
    if (external === undefined) return
    const { certificates } = store.rotation
    const { intermediate, root } = belowKnown(external, store.trust)
    this.#waiting = false
    if (trustedOf(certificates).includes(intermediate.id)) return
    if (store.rotation.withdrawn?.includes(intermediate.id) === true) {
      throw new ChainMistake(
        `${this.#directory}: its intermediate (${intermediate.id}) was withdrawn; put the one in use there (${certificates.active}), or a newer one`,
      )
    }
    this.#waiting = certificates.stage !== 'steady'
    if (!this.#waiting) await store.change(publishAuthority(store.trust, intermediate, root, this.#actor))
  }
}

/** What a registry starts with. @throws OptionsError */
export function openExternal(
  { caDir, trustDomain, clock }: Pick<ResolvedRegistryOptions, 'caDir' | 'trustDomain' | 'clock'>,
  { trust }: RegistryState,
): ExternalIssuers | undefined {
  if (caDir === undefined) return undefined
  try {
    return readExternalIssuers(caDir, clock.wallNow(), trust.rotation?.trustDomain ?? trustDomain)
  } catch (error) {
    return refuseCaDir(error)
  }
}

/** @throws OptionsError for a mistake in the directory, otherwise the error itself */
export function refuseCaDir(error: unknown): never {
  if (!(error instanceof ChainMistake)) throw error
  throw new OptionsError('startRegistry', [{ path: ['caDir'], message: error.message }])
}
