/**
 * Redeems uses of join tokens, each once. Joins that arrive during a write share the next commit.
 */
import type { Clock } from '../../core/clock.ts'
import { ApiError } from '../api/error.ts'
import { KEYS, type TokenRecord } from '../records.ts'
import type { RegistryState, StoredToken } from '../state.ts'

/**
 * Other registries on the same store may take uses at the same time; more conflicts than this in a
 * row do not happen.
 */
const MOST_CONFLICTS = 20

interface Redemption {
  readonly hash: string
  readonly service: string
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class Redemptions {
  readonly #state: RegistryState
  readonly #clock: Clock
  #waiting: Redemption[] = []
  #running = false

  constructor(state: RegistryState, clock: Clock) {
    this.#state = state
    this.#clock = clock
  }

  /** Takes one use, or rejects with an `ApiError` that says why there is none. */
  redeem(hash: string, service: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ hash, service, resolve, reject })
      if (!this.#running) void this.#run()
    })
  }

  /** One round after the other: the state must show the last uses before the next are judged. */
  async #run(): Promise<void> {
    this.#running = true
    while (this.#waiting.length > 0) {
      const ofToken = Map.groupBy(this.#waiting, ({ hash }) => hash)
      this.#waiting = []
      await Promise.all([...ofToken].map(([hash, group]) => this.#take(hash, group)))
    }
    this.#running = false
  }

  async #take(hash: string, group: readonly Redemption[]): Promise<void> {
    let left = group
    try {
      for (let i = 0; i < MOST_CONFLICTS; i++) {
        const token = this.#state.tokens.get(hash)
        left = this.#entitled(token, left)
        if (token === undefined || left.length === 0) return
        const { hash: _hash, revision, ...record } = token
        const used: TokenRecord = { ...record, usesLeft: record.usesLeft - left.length }
        const { ok } = await this.#state.write(
          [{ key: KEYS.token(hash), value: JSON.stringify(used) }],
          [{ key: KEYS.token(hash), revision }],
        )
        if (!ok) continue
        for (const { resolve } of left) resolve()
        return
      }
      throw new ApiError('overloaded', 'too many joins with this token at the same time; try again')
    } catch (error) {
      for (const { reject } of left) reject(error)
    }
  }

  /** Those for whom there is a use; the others are refused with the reason. */
  #entitled(token: StoredToken | undefined, group: readonly Redemption[]): Redemption[] {
    const now = this.#clock.wallNow()
    const entitled: Redemption[] = []
    for (const one of group) {
      try {
        checkUse(token, one.service, now, entitled.length)
        entitled.push(one)
      } catch (error) {
        one.reject(error)
      }
    }
    return entitled
  }
}

/** Throws unless the token has a use for `service` beyond the `promised` ones. */
export function checkUse(token: StoredToken | undefined, service: string, now: number, promised = 0): void {
  if (token === undefined)
    throw new ApiError('token-unknown', 'this registry did not issue the token, or it was deleted')
  if (token.service !== service) {
    throw new ApiError('token-wrong-service', `the token is not for service '${service}'`)
  }
  if (token.expiresAt <= now)
    throw new ApiError('token-expired', `the token expired at ${new Date(token.expiresAt).toISOString()}`)
  if (token.usesLeft <= promised) throw new ApiError('token-used', `all ${token.uses} uses of the token are spent`)
}
