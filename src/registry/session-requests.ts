/** The requests of one session, in order: each begins when the one before is done. */
import { SnapshotRejected } from '../discovery/read-field.ts'
import type { Done } from '../discovery/registry/pending-answers.ts'
import type { ServerMessage } from '../discovery/registry/wire.ts'
import { asApiError } from './api/error.ts'

/** Requests in flight. */
const MOST_IN_FLIGHT = 1_000

/** What the requests need of their session. */
export interface RequestSender {
  send(message: ServerMessage): void
  end(code: string, message: string): void
}

export class SessionRequests {
  readonly #session: RequestSender
  readonly #failed: (error: unknown) => void
  #last: Promise<void> = Promise.resolve()
  #inFlight = 0

  /** `failed` gets the registry's own failures, of which the process learns only the kind. */
  constructor(session: RequestSender, failed: (error: unknown) => void) {
    this.#session = session
    this.#failed = failed
  }

  /** Answers `ref`, if it is one, with what `work` resolves to or why it failed. */
  add(ref: unknown, work: () => Promise<Done>): void {
    const known = Number.isSafeInteger(ref) ? { ref: ref as number } : {}
    if (this.#inFlight >= MOST_IN_FLIGHT) {
      this.#session.end('overloaded', `more than ${MOST_IN_FLIGHT} requests are waiting`)
      return
    }
    this.#inFlight += 1
    this.#last = this.#last.then(async () => {
      try {
        const done = await work()
        if ('ref' in known) this.#session.send({ type: 'done', ref: known.ref, ...done })
      } catch (error) {
        const { code, message } =
          error instanceof SnapshotRejected ? { code: 'invalid-request', message: error.message } : asApiError(error)
        if (code === 'internal' || code === 'storage-unavailable') this.#failed(error)
        this.#session.send({ type: 'error', ...known, code, message })
      } finally {
        this.#inFlight -= 1
      }
    })
  }
}
