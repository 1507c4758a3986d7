/**
 * Our tokens, one per audience and lifetime, renewed after 80 % of it. Without a registry, a token
 * is used to its end.
 */
import { type Clock, LONGEST_TIMER_MS } from '../../core/clock.ts'

export interface IssuedToken {
  readonly token: string
  /** Wall clock of the issuer, ms: when it ends, and when it said so. */
  readonly expiresAt: number
  readonly wallNow: number
}

const RENEW_AT = 0.8
/** After a failure the token at hand is used for so long before the next try. */
const RETRY_MS = 5_000
/** Of its end a token at hand is not shown to anybody: it has to arrive too. */
const MARGIN_MS = 2_000
/** Audiences may come from requests. */
export const MOST_HELD = 1_000

interface Held {
  readonly token: string
  /** Monotonic. */
  renewAt: number
  readonly endAt: number
  /** By our wall clock as the issuer's was then; it also runs while this machine sleeps. */
  readonly wallEndAt: number
}

export class JwtHolder {
  readonly #issue: (audience: string, ttlMs: number) => Promise<IssuedToken>
  readonly #clock: Clock
  /** Least recently used first. */
  readonly #held = new Map<string, Held>()
  readonly #asking = new Map<string, Promise<string>>()

  constructor(issue: (audience: string, ttlMs: number) => Promise<IssuedToken>, clock: Clock) {
    this.#issue = issue
    this.#clock = clock
  }

  get size(): number {
    return this.#held.size
  }

  /** Rejects as `issue` did if there is no usable token. */
  get(audience: string, ttlMs: number): Promise<string> {
    const key = `${ttlMs} ${audience}`
    const held = this.#held.get(key)
    if (held !== undefined && this.#clock.now() < held.renewAt && this.#usable(held)) {
      this.#held.delete(key)
      this.#held.set(key, held)
      return Promise.resolve(held.token)
    }
    let asking = this.#asking.get(key)
    if (asking === undefined) {
      asking = this.#ask(key, audience, ttlMs, held).finally(() => this.#asking.delete(key))
      this.#asking.set(key, asking)
    }
    return asking
  }

  async #ask(key: string, audience: string, ttlMs: number, held: Held | undefined): Promise<string> {
    const askedAt = this.#clock.now()
    try {
      const { token, expiresAt, wallNow } = await this.#issue(audience, ttlMs)
      const lifeMs = Math.min(Math.max(0, expiresAt - wallNow), LONGEST_TIMER_MS)
      this.#held.delete(key)
      this.#held.set(key, {
        token,
        renewAt: askedAt + lifeMs * RENEW_AT,
        endAt: askedAt + lifeMs,
        wallEndAt: this.#clock.wallNow() + lifeMs,
      })
      if (this.#held.size > MOST_HELD) this.#held.delete(this.#held.keys().next().value!)
      return token
    } catch (error) {
      if (held === undefined || !this.#usable(held)) throw error
      held.renewAt = this.#clock.now() + RETRY_MS
      return held.token
    }
  }

  #usable({ endAt, wallEndAt }: Held): boolean {
    return this.#clock.now() < endAt - MARGIN_MS && this.#clock.wallNow() < wallEndAt - MARGIN_MS
  }
}
