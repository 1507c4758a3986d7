/** SIGTERM, once for all meshes of a process: all drain, then the process exits. A second one exits at once. */

const closing = new Map<object, () => Promise<unknown>>()
let received = false

function onSignal(): void {
  // 128 + 15, as a shell reports a process that a SIGTERM ended.
  if (received) process.exit(143)
  received = true
  void Promise.allSettled([...closing.values()].map((close) => close())).then(() => process.exit(0))
}

/** From now on SIGTERM calls `close`; returns how to undo it. */
export function closeOnSignal(close: () => Promise<unknown>): () => void {
  const key = {}
  if (closing.size === 0) process.on('SIGTERM', onSignal)
  closing.set(key, close)
  return () => {
    closing.delete(key)
    // While the process is going away, a second signal still has to find its listener.
    if (closing.size === 0 && !received) process.off('SIGTERM', onSignal)
  }
}
