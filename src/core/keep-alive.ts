/** Keeps the process alive while something waits for the mesh, which by itself does not. */

const LONG_MS = 1_000_000

export async function keepAlive<T>(work: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, LONG_MS)
  try {
    return await work
  } finally {
    clearInterval(timer)
  }
}
