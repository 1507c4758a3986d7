/**
 * Handles SIGTERM and Ctrl-C once for all meshes of a process: they drain, then the process exits.
 * A second signal exits at once.
 */

/** As a shell reports a process that the signal ended: 128 and its number. */
const EXIT_CODES = { SIGTERM: 143, SIGINT: 130 } as const
type Signal = keyof typeof EXIT_CODES
const SIGNALS = Object.keys(EXIT_CODES) as Signal[]

const closing = new Map<object, () => Promise<unknown>>()
let received = false

function onSignal(signal: Signal): void {
  if (received) process.exit(EXIT_CODES[signal])
  received = true
  // SIGTERM asks for an orderly end; Ctrl-C is an interruption even if the end is orderly.
  const code = signal === 'SIGTERM' ? 0 : EXIT_CODES[signal]
  void Promise.allSettled([...closing.values()].map((close) => close())).then(() => process.exit(code))
}

/** From now on the signals call `close`; returns how to undo it. */
export function closeOnSignal(close: () => Promise<unknown>): () => void {
  const key = {}
  if (closing.size === 0) for (const signal of SIGNALS) process.on(signal, onSignal)
  closing.set(key, close)
  return () => {
    closing.delete(key)
    // While the process is going away, a second signal still has to find its listener.
    if (closing.size === 0 && !received) for (const signal of SIGNALS) process.off(signal, onSignal)
  }
}
