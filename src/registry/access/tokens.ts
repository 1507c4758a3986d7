/**
 * Join tokens, shown once and stored as hashes. Each is valid for one service, a number of uses and
 * a time.
 */
import type { Clock } from '../../core/clock.ts'
import { issueToken, parseToken, tokenHash } from '../../identity/join-token.ts'
import { ApiError } from '../api/error.ts'
import { KEYS, type TokenRecord } from '../records.ts'
import type { RegistryState } from '../state.ts'
import type { Audit } from './audit.ts'
import type { Pins } from './pins.ts'
import { checkUse, Redemptions } from './redemptions.ts'

/** How long expired and used tokens are kept, so that a late refusal names the reason. */
const REMEMBERED_MS = 24 * 3_600_000
const MOST_TOKENS = 10_000
export interface NewToken {
  readonly service: string
  readonly ttlMs: number
  readonly uses: number
}

export class JoinTokens {
  readonly #state: RegistryState
  readonly #audit: Audit
  readonly #clock: Clock
  readonly #pins: Pins
  readonly #redemptions: Redemptions

  constructor(state: RegistryState, audit: Audit, clock: Clock, pins: Pins) {
    this.#state = state
    this.#audit = audit
    this.#clock = clock
    this.#pins = pins
    this.#redemptions = new Redemptions(state, clock)
  }

  /** The text is not kept and cannot be shown again. */
  async create(wanted: NewToken, by: string, source: string): Promise<{ token: string; record: TokenRecord }> {
    const now = this.#clock.wallNow()
    const operations = this.#forgettable(now)
    if (this.#state.tokens.size - operations.length >= MOST_TOKENS) {
      throw new ApiError('overloaded', `there are ${MOST_TOKENS} tokens already; delete some first`)
    }
    const { text, hash, id } = issueToken('join', this.#pins.fingerprint)
    const record: TokenRecord = {
      id,
      service: wanted.service,
      uses: wanted.uses,
      usesLeft: wanted.uses,
      createdAt: now,
      expiresAt: now + wanted.ttlMs,
      by,
    }
    const { service } = wanted
    const entry = { who: by, source, action: 'token-create', outcome: 'done', service, detail: record.id } as const
    await this.#state.write(
      [{ key: KEYS.token(hash), value: JSON.stringify(record) }, ...operations, ...this.#audit.operations(entry)],
      [{ key: KEYS.token(hash), revision: 0 }],
    )
    return { token: text, record }
  }

  /** Without the hashes. */
  list(): TokenRecord[] {
    return [...this.#state.tokens.values()].map(({ hash: _hash, revision: _revision, keys: _keys, ...rest }) => rest)
  }

  async remove(id: string, by: string, source: string): Promise<void> {
    const found = [...this.#state.tokens.values()].find((token) => token.id === id)
    if (found === undefined) throw new ApiError('not-found', `there is no token '${id.slice(0, 40)}'`)
    const { service } = found
    const entry = { who: by, source, action: 'token-delete', outcome: 'done', service, detail: id } as const
    await this.#state.write([{ key: KEYS.token(found.hash), value: undefined }, ...this.#audit.operations(entry)])
  }

  /** Deletes some that are over or spent, for long enough. */
  async forget(): Promise<void> {
    const operations = this.#forgettable(this.#clock.wallNow())
    if (operations.length > 0) await this.#state.write(operations)
  }

  isKnown(text: string): boolean {
    return this.#state.tokens.has(this.#hashOf(text))
  }

  /** Resolves when a token that another registry has just issued is known here. */
  async catchUp(text: string): Promise<void> {
    // By then watchers know what keeps a transaction from being made.
    await this.#state.write([], [{ key: KEYS.token(this.#hashOf(text)), revision: 0 }])
  }

  /**
   * Throws unless the token has a use left for `service`, or `keyOf()` has taken one; takes none.
   */
  check(text: string, service: string, keyOf: () => string): void {
    const token = this.#state.tokens.get(this.#hashOf(text))
    const now = this.#clock.wallNow()
    checkUse(token, service, now, undefined)
    // A key costs more to read than a stranger is worth.
    if (token.usesLeft === 0 && token.keys !== undefined && token.keys.includes(keyOf())) return
    checkUse(token, service, now, 0)
  }

  /**
   * Takes one use, or throws. Concurrent callers never get the same use; a key that has taken one
   * takes no second. `text`: the token or its secret.
   */
  redeem(text: string, service: string, key: string): Promise<void> {
    return this.#redemptions.redeem(this.#hashOf(text), service, key)
  }

  /** A whole token must be one of ours: for joining, and for a root of ours. */
  #hashOf(text: string): string {
    const token = parseToken(text)
    const isForeign = token !== undefined && (token.kind !== 'join' || !this.#pins.pins.includes(token.fingerprint))
    return tokenHash(token === undefined || isForeign ? text : token.secret)
  }

  #forgettable(now: number): { key: string; value: undefined }[] {
    return [...this.#state.tokens.values()]
      .filter(({ expiresAt, createdAt, usesLeft }) => {
        return (usesLeft > 0 ? expiresAt : Math.min(expiresAt, createdAt)) + REMEMBERED_MS < now
      })
      .slice(0, 100)
      .map((token) => ({ key: KEYS.token(token.hash), value: undefined }))
  }
}
