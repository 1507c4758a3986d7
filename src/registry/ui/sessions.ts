/**
 * Who is logged in to the page. A session is a random id; only its hash is kept, in memory, and it
 * ends with the operator's token.
 */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../../core/clock.ts'
import { tokenHash } from '../../identity/join-token.ts'
import type { AuthenticatedOperator } from '../access/operators.ts'

const ID_BYTES = 32
const MOST_SESSIONS = 1_000
/** Of one operator: a browser more ends the oldest. */
const MOST_PER_OPERATOR = 20
export const SESSION_MS = 12 * 3_600_000

export interface PageSession extends AuthenticatedOperator {
  /** False: it ended, by its age, by logging out, or with its token. */
  readonly isValid: () => boolean
}

interface KeptSession extends PageSession {
  readonly endsAt: number
}

export class PageSessions {
  readonly #clock: Clock
  /** By the hash of the id, the oldest first. */
  readonly #sessions = new Map<string, KeptSession>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#sessions.size
  }

  /** The id, shown once. */
  begin(operator: AuthenticatedOperator): string {
    this.#forgetEnded()
    const same = [...this.#sessions].filter(([, { name }]) => name === operator.name)
    if (same.length >= MOST_PER_OPERATOR) this.#sessions.delete(same[0]![0])
    if (this.#sessions.size >= MOST_SESSIONS) this.#sessions.delete(this.#sessions.keys().next().value!)
    const id = randomBytes(ID_BYTES).toString('base64url')
    const hash = tokenHash(id)
    const endsAt = this.#clock.now() + SESSION_MS
    const isValid = (): boolean => this.#sessions.has(hash) && this.#clock.now() < endsAt && operator.isValid()
    this.#sessions.set(hash, { name: operator.name, access: operator.access, isValid, endsAt })
    return id
  }

  /** `undefined`: there is none, or it ended. */
  find(id: string): PageSession | undefined {
    const session = this.#sessions.get(tokenHash(id))
    return session?.isValid() ? session : undefined
  }

  end(id: string): void {
    this.#sessions.delete(tokenHash(id))
  }

  #forgetEnded(): void {
    for (const [hash, session] of this.#sessions) if (!session.isValid()) this.#sessions.delete(hash)
  }
}
