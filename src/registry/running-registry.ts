/** What a started registry is to the process that started it. */
import type { Duration } from '../options/duration.ts'
import type { PolicyChange } from './policy-change.ts'

/** A running registry. */
export interface Registry {
  /** Among the registries on its store; `'local'` for one that has its store for itself. */
  readonly id: string
  /** `https://127.0.0.1:7400`. */
  readonly url: string
  readonly port: number
  /** Of the page: `http://127.0.0.1:7401/ui/` with a `uiPort`, otherwise below `url`. */
  readonly uiUrl: string
  readonly trustDomain: string
  /** PEM. */
  readonly roots: readonly string[]
  /** What join tokens pin: SHA-256 of the root's public key, base64url. */
  readonly rootFingerprint: string
  /** Only when it was made by this start; later it is in `<dataDir>/admin-token`. */
  readonly adminToken: string | undefined
  readonly dev: boolean
  readonly epoch: string
  /** Of the last change. */
  readonly revision: number
  /** What it counts of itself. */
  readonly counts: {
    readonly sessions: number
    readonly watchers: number
    readonly encoded: number
    readonly delivered: number
  }
  /**
   * A token with which processes join as `service`. Default: one use, good for 10 minutes.
   *
   * @throws OptionsError naming every wrong field
   * @throws ApiError `overloaded` if the registry keeps 10,000 tokens already
   * @throws StorageError if it cannot be stored; always after {@link Registry.close}
   */
  createJoinToken(options: { service: string; ttl?: Duration; uses?: number }): Promise<string>
  /**
   * Checks, stores and pushes policy documents, all or none.
   *
   * @throws ApiError `invalid-policy` with an issue for every mistake
   * @throws StorageError if they cannot be stored; always after {@link Registry.close}
   */
  applyPolicies(documents: readonly unknown[]): Promise<readonly PolicyChange[]>
  /**
   * Closes everything, within about a second. With other registries on the store, it first sends
   * its processes there, which takes 3 s and 10 s at most.
   */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
