/**
 * Tokens of operators, shown once and stored as hashes. The first admin token is one of them until
 * it is revoked.
 */
import type { Clock } from '../../core/clock.ts'
import { issueToken, parseToken, sameHash, tokenHash } from '../../identity/join-token.ts'
import { ApiError } from '../api/error.ts'
import { KEYS, type OperatorRecord } from '../records.ts'
import type { RegistryState } from '../state.ts'
import type { Operation } from '../storage/storage.ts'
import type { Audit } from './audit.ts'
import type { Pins } from './pins.ts'

/** The id of the first admin token. */
export const FIRST_ADMIN = 'admin'
const MOST_OPERATORS = 1_000
/** Writes of other registries in between, in a row. */
const MOST_CONFLICTS = 20
/** Revoked: no hash is like it, and the next start makes no other token. */
export const REVOKED = ''

export interface NewOperator {
  readonly name: string
  readonly access: OperatorRecord['access']
  /** `undefined`: without end. */
  readonly ttlMs: number | undefined
}

/** What a token proves. */
export interface AuthenticatedOperator {
  /** For the audit log. */
  readonly name: string
  readonly access: OperatorRecord['access']
  /** Whether the token is good still: an answer that goes on ends with it. */
  readonly isValid: () => boolean
}

export class Operators {
  readonly #state: RegistryState
  readonly #audit: Audit
  readonly #clock: Clock
  readonly #pins: Pins
  readonly #firstChanged: (text: string | undefined) => void
  #last: Promise<unknown> = Promise.resolve()

  /** `firstChanged`: the first admin token is another one now, or none; so is its file. */
  constructor(
    state: RegistryState,
    audit: Audit,
    clock: Clock,
    pins: Pins,
    firstChanged: (text: string | undefined) => void,
  ) {
    this.#state = state
    this.#audit = audit
    this.#clock = clock
    this.#pins = pins
    this.#firstChanged = firstChanged
  }

  /** The operator of a token; `undefined` for one that is unknown, revoked or expired. */
  authenticate(text: string): AuthenticatedOperator | undefined {
    const token = parseToken(text)
    if (token?.kind !== 'admin' || !this.#pins.pins.includes(token.fingerprint)) return undefined
    const hash = tokenHash(token.secret)
    let operator: AuthenticatedOperator | undefined
    if (sameHash(hash, this.#state.adminHash ?? REVOKED)) {
      operator = { name: FIRST_ADMIN, access: 'admin', isValid: () => this.#state.adminHash === hash }
    }
    // All of them are compared, so that the time says nothing of which.
    for (const [stored, { name, access }] of this.#state.operators) {
      const isIt = sameHash(hash, stored)
      if (isIt && this.#isIn(stored)) {
        operator = { name: `operator:${name}`, access, isValid: () => this.#isIn(stored) }
      }
    }
    return operator
  }

  #isIn(hash: string): boolean {
    const record = this.#state.operators.get(hash)
    return record !== undefined && (record.expiresAt === null || this.#clock.wallNow() < record.expiresAt)
  }

  /**
   * The text is not kept and cannot be shown again. Names may repeat: a token is followed by
   * another before it is revoked.
   */
  async create(wanted: NewOperator, by: string, source: string): Promise<{ token: string; record: OperatorRecord }> {
    if (this.#state.operators.size >= MOST_OPERATORS) {
      throw new ApiError('limit-exceeded', `there are ${MOST_OPERATORS} operator tokens already; revoke some first`)
    }
    const now = this.#clock.wallNow()
    const { text, hash, id } = issueToken('admin', this.#pins.fingerprint)
    const record: OperatorRecord = {
      id,
      name: wanted.name,
      access: wanted.access,
      createdAt: now,
      expiresAt: wanted.ttlMs === undefined ? null : now + wanted.ttlMs,
      by,
    }
    const detail = `${record.id} of ${record.name}, ${record.access}`
    await this.#state.write([
      { key: KEYS.operator(hash), value: JSON.stringify(record) },
      ...this.#audit.operations({ who: by, source, action: 'operator-create', outcome: 'done', detail }),
    ])
    return { token: text, record }
  }

  /** Without hashes; the first admin token first. */
  list(): OperatorRecord[] {
    const first: OperatorRecord = {
      id: FIRST_ADMIN,
      name: FIRST_ADMIN,
      access: 'admin',
      createdAt: 0,
      expiresAt: null,
      by: 'registry',
    }
    const others = [...this.#state.operators.values()].sort((a, b) => a.createdAt - b.createdAt)
    return this.#hasFirst ? [first, ...others] : others
  }

  /**
   * From now on the token proves nothing. One that may change something and does not expire has to
   * be left.
   */
  revoke(id: string, by: string, source: string): Promise<OperatorRecord> {
    // One after another, or two could revoke the last two.
    const result = this.#last.then(() => this.#revoke(id, by, source))
    this.#last = result.catch(() => undefined)
    return result
  }

  async #revoke(id: string, by: string, source: string): Promise<OperatorRecord> {
    for (let i = 0; i < MOST_CONFLICTS; i++) {
      const revoked = await this.#tryRevoke(id, by, source)
      if (revoked !== undefined) return revoked
    }
    throw new ApiError('overloaded', 'the operator tokens change too often; try again')
  }

  /**
   * Another secret for the same operator, with the same rights and end. The former one is good for
   * `overlapMs` more.
   */
  rotate(
    id: string,
    overlapMs: number,
    by: string,
    source: string,
  ): Promise<{ token: string; record: OperatorRecord }> {
    const result = this.#last.then(() => this.#rotate(id, overlapMs, by, source))
    this.#last = result.catch(() => undefined)
    return result
  }

  async #rotate(
    id: string,
    overlapMs: number,
    by: string,
    source: string,
  ): Promise<{ token: string; record: OperatorRecord }> {
    for (let i = 0; i < MOST_CONFLICTS; i++) {
      const before = this.list().find((one) => one.id === id)
      if (before === undefined) throw new ApiError('not-found', `there is no operator token '${id.slice(0, 40)}'`)
      const now = this.#clock.wallNow()
      const { text, hash, id: newId } = issueToken('admin', this.#pins.fingerprint)
      const key = this.#keyOf(id)
      const isFirst = key === KEYS.admin
      const record: OperatorRecord = { ...before, id: isFirst ? FIRST_ADMIN : newId, createdAt: now, by }
      const made: Operation = isFirst
        ? { key, value: JSON.stringify(hash) }
        : { key: KEYS.operator(hash), value: JSON.stringify(record) }
      const formerHash = isFirst ? this.#state.adminHash! : key.slice(KEYS.operator('').length)
      const former = { ...before, id: formerHash.slice(0, newId.length) }
      const ends = { ...former, expiresAt: Math.min(before.expiresAt ?? Number.POSITIVE_INFINITY, now + overlapMs) }
      const operations: Operation[] = [made]
      if (overlapMs > 0) operations.push({ key: KEYS.operator(formerHash), value: JSON.stringify(ends) })
      else if (!isFirst) operations.push({ key, value: undefined })
      const detail = `${id} of ${record.name}${overlapMs > 0 ? `, the former one until ${new Date(ends.expiresAt).toISOString()}` : ''}`
      const noted = this.#audit.operations({ who: by, source, action: 'operator-rotate', outcome: 'done', detail })
      const { ok } = await this.#state.write(
        [...operations, ...noted],
        [{ key, revision: this.#state.revisionOf(key) }],
      )
      if (!ok) continue
      if (isFirst) this.#firstChanged(text)
      return { token: text, record }
    }
    throw new ApiError('overloaded', 'the operator tokens change too often; try again')
  }

  /** `undefined`: another registry changed one of the tokens that decide. */
  async #tryRevoke(id: string, by: string, source: string): Promise<OperatorRecord | undefined> {
    const all = this.list()
    const record = all.find((one) => one.id === id)
    if (record === undefined) throw new ApiError('not-found', `there is no operator token '${id.slice(0, 40)}'`)
    const lasts = (one: OperatorRecord): boolean => one.access === 'admin' && one.expiresAt === null
    const other = all.find((one) => one !== record && lasts(one))
    if (lasts(record) && other === undefined) {
      throw new ApiError('conflict', `'${id}' is the last token that may change anything; create another one first`)
    }
    const key = this.#keyOf(id)
    const removal = { key, value: key === KEYS.admin ? JSON.stringify(REVOKED) : undefined }
    const detail = `${id} of ${record.name}`
    // Another registry must not revoke the one that is left at the same time.
    const deciding = other === undefined ? [key] : [key, this.#keyOf(other.id)]
    const { ok } = await this.#state.write(
      [removal, ...this.#audit.operations({ who: by, source, action: 'operator-revoke', outcome: 'done', detail })],
      deciding.map((one) => ({ key: one, revision: this.#state.revisionOf(one) })),
    )
    if (!ok) return undefined
    if (key === KEYS.admin) this.#firstChanged(undefined)
    return record
  }

  #keyOf(id: string): string {
    const hash = [...this.#state.operators].find(([, one]) => one.id === id)?.[0]
    return hash === undefined ? KEYS.admin : KEYS.operator(hash)
  }

  get #hasFirst(): boolean {
    return (this.#state.adminHash ?? REVOKED) !== REVOKED
  }
}
