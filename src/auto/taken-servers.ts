/**
 * The servers that serve the mesh. On SIGTERM and Ctrl-C they leave it first; then the signal has
 * the effect that it would have had without us.
 *
 * - `serving` → `leaving`: a signal
 * - `leaving` → `left`: all have left, or a second signal
 */
import { isMainThread } from 'node:worker_threads'
import type { ProcessMesh } from './process-mesh.ts'

export interface TakenServer {
  /** Leaves the mesh without losing a request. Never rejects. */
  leave(): Promise<void>
  /** Accepts no more, and resolves when the last plaintext request has been answered. */
  finish(): Promise<void>
}

type Signal = 'SIGTERM' | 'SIGINT'
const SIGNALS: readonly Signal[] = ['SIGTERM', 'SIGINT']
/** As for requests of the mesh. */
const FINISH_MS = 25_000

export class TakenServers {
  readonly #mesh: ProcessMesh
  readonly #servers = new Set<TakenServer>()
  #state: 'serving' | 'leaving' | 'left' = 'serving'
  readonly #first: (() => void)[] = []
  #listens = false

  constructor(mesh: ProcessMesh) {
    this.#mesh = mesh
    if (isMainThread) this.#intercept()
  }

  /** Calls `listener` when there is a server. */
  onFirst(listener: () => void): void {
    this.#first.push(listener)
  }

  /** Returns how to forget it. */
  add(server: TakenServer): () => void {
    this.#servers.add(server)
    for (const listener of this.#first.splice(0)) listener()
    if (!this.#listens && isMainThread) {
      this.#listens = true
      // Without a listener, Node leaves the signal to the system, which ends the process.
      for (const signal of SIGNALS) process.on(signal, ignore)
    }
    return () => this.#servers.delete(server)
  }

  /** All leave. Never rejects. */
  async leave(): Promise<void> {
    await Promise.all([...this.#servers].map((server) => server.leave()))
  }

  /**
   * The listeners of the application run after the drain, so they cannot be called as they are.
   * Before any of them is added: Node binds the method that it finds then.
   */
  #intercept(): void {
    const { emit } = process
    process.emit = ((event: string, ...given: unknown[]) => {
      const isOurs = this.#listens && this.#state !== 'left' && SIGNALS.includes(event as Signal)
      const pass = (): boolean => (emit as (...all: unknown[]) => boolean).call(process, event, ...given)
      if (!isOurs) return pass()
      void this.#signaled(event as Signal, pass)
      return true
    }) as typeof emit
  }

  async #signaled(signal: Signal, pass: () => void): Promise<void> {
    const first = this.#state === 'serving'
    if (first) {
      this.#state = 'leaving'
      await this.leave()
      // A second signal has ended the wait.
      if (this.#state !== 'leaving') return
    }
    this.#state = 'left'
    for (const each of SIGNALS) process.off(each, ignore)
    if (process.listenerCount(signal) > 0) {
      pass()
      return
    }
    if (first) {
      await this.#finish()
      await this.#mesh.close()
    }
    process.kill(process.pid, signal)
  }

  async #finish(): Promise<void> {
    const finished = Promise.all([...this.#servers].map((server) => server.finish()))
    const late = new Promise((resolve) => setTimeout(resolve, FINISH_MS).unref())
    await Promise.race([finished, late])
  }
}

function ignore(): void {}
