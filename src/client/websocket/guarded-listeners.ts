/**
 * Listeners of one WebSocket. One that throws is reported and harms neither the others nor the
 * process, as the DOM standard has it; Node's own `EventTarget` ends the process.
 */

type Listener = (event: unknown) => unknown

export class GuardedListeners {
  readonly #service: string
  readonly #guarded = new WeakMap<object, Listener>()

  constructor(service: string) {
    this.#service = service
  }

  /** The same for the same `listener`, so that it can be removed. */
  guarded(listener: unknown): unknown {
    if ((typeof listener !== 'object' && typeof listener !== 'function') || listener === null) return listener
    const known = this.#guarded.get(listener)
    if (known !== undefined) return known
    const service = this.#service
    const guard = function (this: unknown, event: unknown): void {
      try {
        const returned =
          typeof listener === 'function'
            ? (listener as Listener).call(this, event)
            : (listener as { handleEvent: Listener }).handleEvent(event)
        const then = (returned as PromiseLike<unknown> | undefined)?.then
        if (typeof then === 'function') then.call(returned, undefined, (error: unknown) => report(service, error))
      } catch (error) {
        report(service, error)
      }
    }
    this.#guarded.set(listener, guard)
    // Node removes by itself what a signal has ended.
    this.#guarded.set(guard, guard)
    return guard
  }
}

function report(service: string, error: unknown): void {
  const said = error instanceof Error ? (error.stack ?? error.message) : String(error)
  process.emitWarning(`a listener of a WebSocket to '${service}' threw: ${said}`, { type: 'InmeshWarning' })
}
