/**
 * The port that a worker of a cluster has besides the one that all workers share: calls are
 * balanced over workers only if each has an address.
 */

/** Calls `serve` with ports of the range until one is free; without a range, with 0. */
export async function onFreePort<T>(
  range: readonly [from: number, to: number] | undefined,
  serve: (port: number) => Promise<T>,
): Promise<T> {
  if (range === undefined) return serve(0)
  const [from, to] = range
  for (let port = from; port <= to; port++) {
    try {
      return await serve(port)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    }
  }
  throw new Error(`no port of INMESH_AUTO_WORKER_PORTS (${from}-${to}) is free`)
}
