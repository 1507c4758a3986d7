/** Tells a process when all watchers have seen that one of its instances leaves. */
import type { Departure } from './registrar.ts'
import type { SessionHost } from './session-host.ts'

export class SeenNotices {
  readonly #host: Pick<SessionHost, 'whenSeen'>
  readonly #service: string
  readonly #tell: (id: string, watchers: number) => void
  /** How to stop waiting, by instance. */
  readonly #waits = new Map<string, () => void>()

  constructor(host: Pick<SessionHost, 'whenSeen'>, service: string, tell: (id: string, watchers: number) => void) {
    this.#host = host
    this.#service = service
    this.#tell = tell
  }

  await(id: string, { revision, written }: Departure): void {
    this.#waits.get(id)?.()
    this.#waits.delete(id)
    let told = false
    const stop = this.#host.whenSeen(this.#service, revision, written, (watchers) => {
      told = true
      this.#waits.delete(id)
      this.#tell(id, watchers)
    })
    if (!told) this.#waits.set(id, stop)
  }

  close(): void {
    for (const stop of this.#waits.values()) stop()
    this.#waits.clear()
  }
}
