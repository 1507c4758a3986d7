/**
 * (n) A total outage: nothing listens at any of ten servers for a while, then all do again.
 * Circuit, holds and panic act together; retries and their budget are the defaults.
 */
import { outcome } from '../../src/core/outcome.ts'
import { answersAfter, hangs } from '../../src/simulator/server.ts'
import { Crowd } from './crowd.ts'
import { Summary } from './summary.ts'

const FROM_MS = 10_000
const LENGTH_MS = 60_000
const SERVERS = 10
const FAILURE = outcome('failure', 'server-error', undefined, 500)

export interface BlackoutParts {
  /** Share of the capacity. */
  readonly load: number
  readonly outageMs: number
  readonly clients: number
  /** What a caller meets meanwhile. */
  readonly meets: 'closed ports' | 'errors' | 'silence'
  /** Servers that stay dead. */
  readonly stayDead?: number
}

export interface Blackout extends BlackoutParts {
  readonly calls: number
  /** Calls that began after the servers were back and after the client's first answer. */
  readonly failedAfter: number
  readonly failedAfterPercent: number
  /** From a client's first answer until it uses all servers, the longest of all clients. */
  readonly allBackMs: number
  /** From the return of the servers until the first answer, the longest of all clients. */
  readonly firstAnswerMs: number
  readonly opened: number
  readonly p99AfterMs: number
}

export function blackout(seed: number, parts: BlackoutParts): Blackout {
  const { load, outageMs, clients, meets, stayDead = 0 } = parts
  const crowd = new Crowd({
    ...{ seed, clients, load, servers: SERVERS, workers: 4, meanMs: 40, lengthMs: LENGTH_MS },
    options: { timeout: 1_000 },
  })
  const back = FROM_MS + outageMs
  const ill = meets === 'silence' ? hangs : answersAfter(crowd.clock, () => 1, FAILURE)
  crowd.at(FROM_MS, () => {
    if (meets === 'closed ports') crowd.listen(crowd.all, false)
    else for (const { server } of crowd.all) server.handler = ill
  })
  crowd.at(back, () => {
    const living = crowd.all.slice(stayDead)
    if (meets === 'closed ports') crowd.listen(living, true)
    else for (const { server, well } of living) server.handler = well
  })
  const firstAnswer = new Map<object, number>()
  const allBack = new Map<object, number>()
  let opened = 0
  for (const client of crowd.clients) client.state.circuit?.circuit.on('open', () => (opened += 1))
  const look = (): void => {
    for (const client of crowd.clients) {
      const first = firstAnswer.get(client)
      if (first === undefined || allBack.has(client)) continue
      const healthy = client.cluster.endpoints.filter(({ state }) => state === 'healthy').length
      if (healthy === SERVERS - stayDead) allBack.set(client, crowd.clock.now())
    }
    if (crowd.clock.now() < LENGTH_MS) crowd.clock.startTimer(10, look, undefined)
  }
  crowd.at(back, look)
  let [after, failedAfter] = [0, 0]
  const summary = new Summary()
  const { calls } = crowd.run((call, { verdict }, client) => {
    const now = crowd.clock.now()
    if (now < back) return
    if (verdict === 'success' && !firstAnswer.has(client)) firstAnswer.set(client, now)
    const first = firstAnswer.get(client)
    if (first === undefined || call.startedAt < first) return
    after += 1
    if (verdict !== 'success') failedAfter += 1
    summary.add(verdict === 'success', now - call.startedAt, call.attempts)
  })
  const longest = (instants: Iterable<number>): number => Math.max(...instants)
  return {
    ...parts,
    ...{ calls, failedAfter, failedAfterPercent: (100 * failedAfter) / after, opened },
    firstAnswerMs: longest(crowd.clients.map((client) => (firstAnswer.get(client) ?? Number.POSITIVE_INFINITY) - back)),
    allBackMs: longest(
      crowd.clients.map(
        (client) =>
          (allBack.get(client) ?? Number.POSITIVE_INFINITY) - (firstAnswer.get(client) ?? Number.POSITIVE_INFINITY),
      ),
    ),
    p99AfterMs: summary.percentile(0.99),
  }
}
