/**
 * Redeems uses of join tokens, each once. Joins that arrive during a write share the next commit,
 * and a process that lost the answer asks again with the same key for the same use.
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
/** Keys remembered per token: of processes that may still ask again. */
const MOST_KEYS = 100

interface Redemption {
  readonly hash: string
  readonly service: string
  readonly key: string | undefined
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

  /**
   * Takes one use, or rejects with an `ApiError` that says why there is none. `key`: of the process
   * that joins, by its hash; one that has taken a use takes no second.
   */
  redeem(hash: string, service: string, key?: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ hash, service, key, resolve, reject })
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
        const { entitled, uses, keys } = this.#entitled(token, left)
        left = entitled
        if (token === undefined || left.length === 0) return
        if (uses === 0) {
          for (const { resolve } of left) resolve()
          return
        }
        const { hash: _hash, revision, ...record } = token
        const used: TokenRecord = {
          ...record,
          usesLeft: record.usesLeft - uses,
          ...(keys.length > 0 && { keys: keys.slice(-MOST_KEYS) }),
        }
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
  #entitled(token: StoredToken | undefined, group: readonly Redemption[]) {
    const now = this.#clock.wallNow()
    const entitled: Redemption[] = []
    const keys = new Set(token?.keys)
    let uses = 0
    for (const one of group) {
      const { service, key } = one
      try {
        const again = key !== undefined && keys.has(key)
        checkUse(token, service, now, again ? undefined : uses)
        entitled.push(one)
        if (again) continue
        uses += 1
        if (key !== undefined) keys.add(key)
      } catch (error) {
        one.reject(error)
      }
    }
    return { entitled, uses, keys: [...keys] }
  }
}

/**
 * Throws unless the token has a use for `service` beyond the `promised` ones. `undefined`: it is
 * not asked for a use.
 */
export function checkUse(
  token: StoredToken | undefined,
  service: string,
  now: number,
  promised: number | undefined,
): asserts token is StoredToken {
  if (token === undefined)
    throw new ApiError('token-unknown', 'this registry did not issue the token, or it was deleted')
  if (token.service !== service) {
    throw new ApiError('token-wrong-service', `the token is not for service '${service}'`)
  }
  if (token.expiresAt <= now)
    throw new ApiError('token-expired', `the token expired at ${new Date(token.expiresAt).toISOString()}`)
  if (promised !== undefined && token.usesLeft <= promised) {
    throw new ApiError('token-used', `all ${token.uses} uses of the token are spent`)
  }
}
