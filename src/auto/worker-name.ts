/** The worker of a cluster, and the thread, that this code runs in. */
import type { Cluster } from 'node:cluster'
import { threadId } from 'node:worker_threads'

/** Loading it in each process would take longer than the rest of this room. */
export function cluster(): Cluster {
  return process.getBuiltinModule('node:cluster') as unknown as Cluster
}

/** `cluster-2`, `thread-1`, `cluster-2-thread-1`; `undefined`: there is nothing to tell apart. */
export function workerName(): string | undefined {
  const { worker } = cluster()
  const names = [worker === undefined ? [] : `cluster-${worker.id}`, threadId === 0 ? [] : `thread-${threadId}`].flat()
  return names.length === 0 ? undefined : names.join('-')
}
