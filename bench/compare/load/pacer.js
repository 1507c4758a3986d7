/**
 * Says when each request is due, to a tenth of a millisecond: a thread that sleeps on a futex,
 * since a timer of Node's is only good to one or two, and spinning would take a core from what is
 * measured. JavaScript, so that a thread starts at once.
 */
import { parentPort, workerData } from 'node:worker_threads'

const { startedAt, perSecond, stop } = workerData
const stopped = new Int32Array(stop)
/** The one clock that all threads share. */
const now = () => Number(process.hrtime.bigint()) / 1e6

for (let n = 0; ; n++) {
  const waitMs = startedAt + (n * 1000) / perSecond - now()
  if (waitMs > 0) Atomics.wait(stopped, 0, 0, waitMs)
  if (Atomics.load(stopped, 0) === 1) break
  parentPort.postMessage(n)
}
