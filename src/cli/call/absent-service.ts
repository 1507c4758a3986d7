/** Says while a call waits that no instance of its service is registered, and the nearest name. */
import { type Developer, whyAbsent } from '../developer.ts'

/** The registry is asked beside the call, which does not wait for it. */
const PATIENCE_MS = 1_000

export class AbsentService {
  readonly #asked: Promise<string | undefined>

  constructor(developer: Developer, service: string) {
    this.#asked = whyAbsent(developer, service).then((why) => {
      if (why !== undefined) developer.terminal.note(`${why}; waiting for one`)
      return why
    })
  }

  /** For the error of the call. */
  why(): Promise<string | undefined> {
    const { promise, resolve } = Promise.withResolvers<undefined>()
    const timer = setTimeout(() => resolve(undefined), PATIENCE_MS)
    return Promise.race([this.#asked, promise]).finally(() => clearTimeout(timer))
  }
}
