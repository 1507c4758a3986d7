/** Users that wait for a connection, first come first served. A user may leave from anywhere. */
import type { ConnectionUser, RequestPool } from './connection-user.ts'

export class WaitingLine {
  first: ConnectionUser | undefined = undefined
  length = 0
  readonly #pool: RequestPool
  #last: ConnectionUser | undefined = undefined

  /** `pool`: the one that its users leave. */
  constructor(pool: RequestPool) {
    this.#pool = pool
  }

  add(user: ConnectionUser): void {
    user.waitingIn = this.#pool
    user.ahead = this.#last
    user.behind = undefined
    if (this.#last === undefined) this.first = user
    else this.#last.behind = user
    this.#last = user
    this.length += 1
  }

  /** The first leaves it. */
  next(): ConnectionUser | undefined {
    const user = this.first
    if (user !== undefined) this.leave(user)
    return user
  }

  leave(user: ConnectionUser): void {
    if (user.waitingIn !== this.#pool) return
    if (user.ahead === undefined) this.first = user.behind
    else user.ahead.behind = user.behind
    if (user.behind === undefined) this.#last = user.ahead
    else user.behind.ahead = user.ahead
    user.waitingIn = undefined
    user.ahead = undefined
    user.behind = undefined
    this.length -= 1
  }
}
