/** Which transport calls to each service prefer: by its policy, or else as the process says. */
import { DEFAULT_TRANSPORT, type TransportPreference } from '../core/transport.ts'

export class TransportPreferences {
  readonly #ofProcess: TransportPreference
  readonly #byService = new Map<string, TransportPreference>()

  constructor(ofProcess: TransportPreference = DEFAULT_TRANSPORT) {
    this.#ofProcess = ofProcess
  }

  of(service: string): TransportPreference {
    return this.#byService.get(service) ?? this.#ofProcess
  }

  /**
   * `undefined`: no document says anything, or the service is forgotten. Returns whether another
   * transport is preferred from now on.
   */
  set(service: string, preference: TransportPreference | undefined): boolean {
    const before = this.of(service)
    if (preference === undefined) this.#byService.delete(service)
    else this.#byService.set(service, preference)
    return this.of(service) !== before
  }
}
