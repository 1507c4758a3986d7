/**
 * Looks whether the registry has another root than this process trusts: it was replaced while we
 * were away. Joins anew with a token that pins the new root, or says what to do.
 */
import { MeshError } from '../core/errors.ts'
import { presentedRoots } from '../discovery/registry/issuer.ts'
import { rootReplaced } from '../discovery/registry/replaced-root.ts'
import { rootFingerprint } from '../identity/join-token.ts'
import type { RotatingIdentity } from '../identity/rotation.ts'
import type { MeshContext } from './context.ts'
import { JoinTokens } from './join-token.ts'

/** How long the registry has to present its root. */
const ROOT_TIMEOUT_MS = 1_000
/** A stranger at the registry's address may show another root each time. */
const MOST_REPORTED = 16

export class ReplacedRoot {
  readonly #shared: MeshContext
  readonly #rotation: RotatingIdentity
  readonly #tokens: JoinTokens
  readonly #reported = new Set<string>()
  #looking: Promise<MeshError | undefined> | undefined

  constructor(shared: MeshContext, rotation: RotatingIdentity) {
    this.#shared = shared
    this.#rotation = rotation
    this.#tokens = new JoinTokens(shared.settings)
  }

  /**
   * The error of a process whose roots the registry does not have; `undefined` if it has one of
   * them, does not answer, or has let us in anew. Never rejects.
   */
  look(): Promise<MeshError | undefined> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #look(): Promise<MeshError | undefined> {
    const { addresses, events, settings } = this.#shared
    const presented = await presentedRoots(addresses, settings.clock, ROOT_TIMEOUT_MS, true)
    if (presented === undefined) return undefined
    const { registry, fingerprints } = presented
    const shown = fingerprints[0]!
    const known = this.#rotation.current.roots.map((root) => rootFingerprint(root))
    if (fingerprints.some((one) => known.includes(one)) || (await this.#joinsAnew(fingerprints))) return undefined
    const { service } = settings
    const error = rootReplaced({ registry, shown, known, knownFrom: 'identity', service })
    if (!this.#reported.has(shown) && this.#reported.size < MOST_REPORTED) {
      this.#reported.add(shown)
      events.emit('identity:failed', { reason: error.message })
    }
    return error
  }

  /** The application's function is not called again and again while a registry is away. */
  async #joinsAnew(shown: readonly string[]): Promise<boolean> {
    if (this.#tokens.costly) return false
    try {
      const token = await this.#tokens.ask(ROOT_TIMEOUT_MS)
      if (token === undefined || !shown.includes(token.fingerprint)) return false
      await this.#rotation.rejoin()
      return this.#rotation.current.roots.some((root) => shown.includes(rootFingerprint(root)))
    } catch (error) {
      const reason = error instanceof MeshError ? error.message : String(error)
      this.#shared.events.emit('identity:failed', { reason: `The registry has another root. ${reason}` })
      return false
    }
  }
}
