/**
 * Follows a `--dev` registry that was restarted without its data: it has another root, and this
 * process joins it again. Only a process that a `--dev` registry on loopback let in without a token
 * does so, as it would at its next start.
 */
import { MeshError, reasonOf } from '../core/errors.ts'
import { presentedRoots } from '../discovery/registry/issuer.ts'
import { rootFingerprint } from '../identity/join-token.ts'
import type { RotatingIdentity } from '../identity/rotation.ts'
import type { MeshContext } from './context.ts'

/** How long the registry has to present its root. */
const ROOT_TIMEOUT_MS = 1_000

export class DevRegistry {
  readonly #shared: MeshContext
  readonly #rotation: RotatingIdentity
  #busy = false
  /** Of the root whose registry has refused to let us in. */
  #refusedBy: string | undefined

  constructor(shared: MeshContext, rotation: RotatingIdentity) {
    this.#shared = shared
    this.#rotation = rotation
  }

  /** Whether {@link DevRegistry.follow} applies to this process. */
  follows(dev: boolean): boolean {
    const { joinToken, joinTokenFile } = this.#shared.settings
    return dev && joinToken === undefined && joinTokenFile === undefined && this.#shared.addresses.local
  }

  /**
   * Joins again if the registry presents another root than ours. `dev`: the registry of our root
   * has said that it runs with `--dev`. Never rejects.
   */
  async follow(dev: boolean): Promise<void> {
    const { settings, addresses, events } = this.#shared
    if (!this.follows(dev) || this.#busy) return
    this.#busy = true
    const presented = await presentedRoots(addresses, settings.clock, ROOT_TIMEOUT_MS)
    const shown = presented?.fingerprints[0]
    try {
      const isOther = presented !== undefined && !presented.fingerprints.some((one) => this.#trusts(one))
      if (isOther && shown !== this.#refusedBy) await this.#rotation.rejoin()
    } catch (error) {
      if (error instanceof MeshError && error.code === 'join-refused') this.#refusedBy = shown
      const reason = reasonOf(error)
      events.emit('identity:failed', { reason: `The registry has another root. Joining it failed: ${reason}` })
    } finally {
      this.#busy = false
    }
  }

  #trusts(fingerprint: string): boolean {
    return this.#rotation.current.roots.some((root) => rootFingerprint(root) === fingerprint)
  }
}
