/**
 * Reads the logs of all servers of a run. Where a request waited, and where a worker was idle
 * meanwhile, are counts: a busy machine shifts instants, but no request to another server.
 */
import { percentile } from '../compare/statistics.ts'
import type { Served } from './work-queue.ts'

export interface ServerLog {
  readonly workers: number
  /** 1 is the usual one. */
  readonly speed: number
  readonly served: readonly Served[]
}

/** One call of a client. */
export interface Sent {
  readonly begunAt: number
  readonly endedAt: number
  readonly good: boolean
  /** Why it failed. */
  readonly code?: string | undefined
}

/** What a run leaves behind, real or simulated. */
export interface Traces {
  readonly servers: readonly ServerLog[]
  /** The calls of each. */
  readonly clients: readonly (readonly Sent[])[]
}

export interface Measures {
  readonly calls: number
  /** Share of the requests that no worker was free for. */
  readonly waited: number
  /** Share of the requests that waited although another server had an idle worker. */
  readonly misplaced: number
  /** How many requests had to leave before a worker was free, on average over all. */
  readonly ahead: number
  readonly waitMs: number
  readonly p99WaitMs: number
  /** Requests of the slower servers over their share of the capacity. 1 if all are equal. */
  readonly slowerShare: number
}

interface Event {
  readonly at: number
  readonly server: number
  /** `undefined`: one leaves. */
  readonly arrives: Served | undefined
}

/** Counts what arrived from `from` until `until`; what came earlier is still in the way. */
export function measuresOf(servers: readonly ServerLog[], from: number, until: number): Measures {
  const present: number[] = servers.map(() => 0)
  let idleServers = servers.length
  let [waited, misplaced, ahead] = [0, 0, 0]
  const waits: number[] = []
  for (const { at, server, arrives } of eventsOf(servers)) {
    const { workers } = servers[server]!
    if (arrives === undefined) {
      present[server]! -= 1
      if (present[server] === workers - 1) idleServers += 1
      continue
    }
    const before = present[server]!
    if (at >= from && at < until) {
      waits.push((arrives.beganAt ?? arrives.endedAt) - arrives.arrivedAt)
      if (before >= workers) {
        waited += 1
        ahead += before - workers + 1
        if (idleServers > 0) misplaced += 1
      }
    }
    present[server] = before + 1
    if (before + 1 === workers) idleServers -= 1
  }
  const calls = waits.length
  return {
    calls,
    waited: waited / calls,
    misplaced: misplaced / calls,
    ahead: ahead / calls,
    waitMs: waits.reduce((sum, ms) => sum + ms, 0) / calls,
    p99WaitMs: percentile(waits, 0.99),
    slowerShare: slowerShareOf(servers, from, until),
  }
}

/** In order; of one instant, what leaves before what arrives. */
function eventsOf(servers: readonly ServerLog[]): Event[] {
  const events = servers.flatMap(({ served }, server) =>
    served.flatMap((one): Event[] => [
      { at: one.arrivedAt, server, arrives: one },
      { at: one.endedAt, server, arrives: undefined },
    ]),
  )
  // A request that left in the instant of its arrival still arrived first.
  const rank = ({ at, arrives }: Event): number => (arrives === undefined ? 0 : arrives.endedAt === at ? -1 : 1)
  return events.sort((a, b) => a.at - b.at || rank(a) - rank(b))
}

function slowerShareOf(servers: readonly ServerLog[], from: number, until: number): number {
  const fastest = Math.max(...servers.map(({ speed }) => speed))
  const slower = servers.filter(({ speed }) => speed < fastest)
  const those = slower.length > 0 ? slower : servers
  const capacity = (some: readonly ServerLog[]): number =>
    some.reduce((sum, { workers, speed }) => sum + workers * speed, 0)
  const requests = (some: readonly ServerLog[]): number =>
    some.reduce(
      (sum, { served }) => sum + served.filter(({ arrivedAt }) => arrivedAt >= from && arrivedAt < until).length,
      0,
    )
  return requests(those) / requests(servers) / (capacity(those) / capacity(servers))
}

export interface Recovery {
  /** Calls that failed and were begun before the servers were back. */
  readonly failedDuring: number
  /** The same, begun after the return and before the client's first answer. */
  readonly failedBefore: number
  /**
   * From the return until a client had its first good answer to a call begun since, the longest of
   * all clients.
   */
  readonly firstAnswerMs: number
  /** Calls that were begun after that answer. */
  readonly after: number
  readonly failedAfter: number
  /** From the return until each server had a call that was begun after it. */
  readonly allUsedMs: number
}

/** After all servers came back at `backAt`. */
export function recoveryOf({ clients, servers }: Traces, backAt: number): Recovery {
  const all = clients.map((calls) => {
    const since = calls.filter(({ begunAt }) => begunAt >= backAt)
    const first = Math.min(...since.filter(({ good }) => good).map(({ endedAt }) => endedAt))
    return { calls, since, first, after: since.filter(({ begunAt }) => begunAt >= first) }
  })
  const failed = (calls: readonly Sent[]): number => calls.filter(({ good }) => !good).length
  const sum = (of: (one: (typeof all)[number]) => number): number => all.reduce((before, one) => before + of(one), 0)
  const used = servers.map(({ served }) =>
    Math.min(...served.filter(({ sentAt }) => sentAt >= backAt).map(({ arrivedAt }) => arrivedAt)),
  )
  return {
    failedDuring: sum(({ calls, since }) => failed(calls) - failed(since)),
    failedBefore: sum(({ since, after }) => failed(since) - failed(after)),
    firstAnswerMs: Math.max(...all.map(({ first }) => first)) - backAt,
    after: sum(({ after }) => after.length),
    failedAfter: sum(({ after }) => failed(after)),
    allUsedMs: Math.max(...used) - backAt,
  }
}
