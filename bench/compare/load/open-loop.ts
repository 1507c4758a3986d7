/**
 * A load that does not wait: requests are due at a constant rate whether or not earlier ones have
 * come back, and latency counts from the instant a request was due, not from when it could be sent.
 * So a stall is as long in the figures as it was for those who asked during it. Knows no clock and
 * no socket: both are given.
 */

/** What became of one request. */
export type Sent = { readonly failure?: string }

export interface Job {
  readonly perSecond: number
  /** Share of requests that must not be repeated (`POST`), spread evenly; from 0 to 1. */
  readonly postShare: number
  /** Begins every id, which is `<prefix>-g<n>` for a GET and `<prefix>-p<n>` for a POST. */
  readonly prefix: string
}

/** Counts of one kind of request. */
export interface Count {
  requests: number
  failed: number
}

export interface LoadResult {
  readonly gets: Count
  readonly posts: Count
  /** In ms, in the order of the answers, failures included. */
  readonly latenciesMs: number[]
  /** Failures by what was said. */
  readonly failures: Record<string, number>
}

/** When request `n` (from 0) is due, in ms after the start. */
export function dueAfterMs(n: number, perSecond: number): number {
  return (n * 1000) / perSecond
}

/** Whether request `n` is a POST, so that any stretch of requests has the share. */
export function isPost(n: number, share: number): boolean {
  return Math.floor((n + 1) * share) > Math.floor(n * share)
}

export class OpenLoop {
  readonly result: LoadResult = {
    gets: { requests: 0, failed: 0 },
    posts: { requests: 0, failed: 0 },
    latenciesMs: [],
    failures: {},
  }
  readonly #job: Job
  readonly #startedAt: number
  readonly #now: () => number
  readonly #send: (method: 'GET' | 'POST', id: string) => Promise<Sent>
  readonly #running = new Set<Promise<void>>()

  constructor(
    job: Job,
    startedAt: number,
    now: () => number,
    send: (method: 'GET' | 'POST', id: string) => Promise<Sent>,
  ) {
    this.#job = job
    this.#startedAt = startedAt
    this.#now = now
    this.#send = send
  }

  /** Sends request `n`; late or not, its latency counts from when it was due. */
  send(n: number): void {
    const running = this.#measure(n).finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** All that was sent has ended. */
  async settled(): Promise<LoadResult> {
    await Promise.all(this.#running)
    return this.result
  }

  async #measure(n: number): Promise<void> {
    const { perSecond, postShare, prefix } = this.#job
    const post = isPost(n, postShare)
    const count = post ? this.result.posts : this.result.gets
    count.requests += 1
    const { failure } = await this.#send(post ? 'POST' : 'GET', `${prefix}-${post ? 'p' : 'g'}${n}`)
    this.result.latenciesMs.push(this.#now() - this.#startedAt - dueAfterMs(n, perSecond))
    if (failure === undefined) return
    count.failed += 1
    this.result.failures[failure] = (this.result.failures[failure] ?? 0) + 1
  }
}
