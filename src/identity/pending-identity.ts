/**
 * Stands in for an identity that arrives later. Its users can be built before, but no connection
 * opens until it arrives.
 */
import { MeshError } from '../core/errors.ts'
import type { Identity, IdentitySource } from './identity.ts'

export class PendingIdentity implements IdentitySource {
  readonly #listeners = new Set<(identity: Identity) => void>()
  #source: IdentitySource | undefined
  #stop: (() => void) | undefined
  #waiting: { resolve: () => void; reject: (error: unknown) => void }[] = []
  #closed = false

  get present(): boolean {
    return this.#source !== undefined
  }

  /** @throws MeshError `registry-unavailable` while there is none. */
  get current(): Identity {
    if (this.#source === undefined) {
      throw new MeshError('this process has no identity yet: no registry has answered', {
        code: 'registry-unavailable',
      })
    }
    return this.#source.current
  }

  onRotate(listener: (identity: Identity) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** It has come. The first identity counts as a rotation for those who listen. */
  arrive(source: IdentitySource): void {
    if (this.#closed || this.#source !== undefined) return
    this.#source = source
    const tell = (identity: Identity): void => {
      for (const listener of [...this.#listeners]) listener(identity)
    }
    this.#stop = source.onRotate(tell)
    tell(source.current)
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }

  /** Resolves when it is there; rejects when the mesh is closed before. */
  whenPresent(): Promise<void> {
    if (this.#source !== undefined) return Promise.resolve()
    if (this.#closed) return Promise.reject(closedError())
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
    })
  }

  close(): void {
    this.#closed = true
    this.#stop?.()
    this.#listeners.clear()
    for (const { reject } of this.#waiting.splice(0)) reject(closedError())
  }
}

function closedError(): MeshError {
  return new MeshError('the mesh was closed', { code: 'closed' })
}
