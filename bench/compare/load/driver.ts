/**
 * The process of the end users: calls `checkout` at a constant rate, several loads at a time. It is
 * the same for every way of calling, and its CPU time is not counted.
 */
import { Worker } from 'node:worker_threads'
import { Agent } from 'undici'
import { type Job, OpenLoop, type Sent } from './open-loop.ts'

/** Longer than any bound between the services, so that their answer is the one that counts. */
const TIMEOUT_MS = 10_000
const ORDER = JSON.stringify({ sku: 'a', count: 1 })

export type DriverCommand =
  | ({ readonly kind: 'start'; readonly load: string; readonly origin: string } & Job)
  | { readonly kind: 'stop'; readonly load: string }

interface Running {
  stop(): Promise<unknown>
}

const agent = new Agent({ headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS, keepAliveTimeout: 30_000 })
const loads = new Map<string, Running>()

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

async function send(origin: string, method: 'GET' | 'POST', id: string): Promise<Sent> {
  try {
    const answer = await agent.request({
      origin,
      method,
      path: `/items/${id}`,
      ...(method === 'POST' ? { body: ORDER, headers: { 'content-type': 'application/json' } } : {}),
    })
    const text = await answer.body.text()
    return answer.statusCode === 200 ? {} : { failure: `${answer.statusCode} ${reason(text)}`.trimEnd() }
  } catch (error) {
    return { failure: (error as NodeJS.ErrnoException).code ?? String(error) }
  }
}

/** What checkout said, without what differs from request to request. */
function reason(text: string): string {
  try {
    return String((JSON.parse(text) as { error?: string }).error ?? '')
  } catch {
    return text.slice(0, 60).replace(/\s+/g, ' ')
  }
}

function start(origin: string, job: Job): Running {
  const stopped = new Int32Array(new SharedArrayBuffer(4))
  // A little later than now, so that the thread is awake when the first request is due.
  const startedAt = now() + 100
  const loop = new OpenLoop(job, startedAt, now, (method, id) => send(origin, method, id))
  const pacer = new Worker(new URL('./pacer.js', import.meta.url), {
    workerData: { startedAt, perSecond: job.perSecond, stop: stopped.buffer },
  })
  pacer.on('message', (n: number) => loop.send(n))
  const ended = new Promise<void>((resolve) => pacer.once('exit', () => resolve()))
  return {
    async stop() {
      Atomics.store(stopped, 0, 1)
      Atomics.notify(stopped, 0)
      await ended
      return loop.settled()
    },
  }
}

process.on('message', (command: DriverCommand) => {
  const { load } = command
  if (command.kind === 'start') loads.set(load, start(command.origin, command))
  else
    void loads
      .get(load)
      ?.stop()
      .then((result) => process.send?.({ load, result }))
})
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
