/** The routes of a service: what its document wants of each, and how its calls went. */
import type { ServiceEntry } from '../service-entry.ts'
import type { RegistryState } from '../state.ts'
import type { Asked } from './ask.ts'
import type { Cell, Part } from './cells.ts'
import { Coverage, type CoverageSummary } from './coverage.ts'
import { versionsOf } from './graph.ts'
import { rounded } from './rounded.ts'
import { type Figures, Sums } from './sums.ts'

export const ROUTE_PARTS: readonly Part[] = ['via', 'protocol', 'method', 'route', 'version']
/** What is more is left out, and counted. */
const MOST_ROUTES = 500

export interface RouteFigures extends Figures {
  /** Empty: calls that no route matched. */
  readonly route: string
  readonly protocol: string
  readonly method: string
  readonly callers: readonly string[]
  /** The share of calls that each version answered. */
  readonly versions: Readonly<Record<string, number>> | null
  /** The shares of calls that led to other services, by service; the service itself included. */
  readonly services: Readonly<Record<string, number>> | null
  readonly gap: number
}

export interface RoutesAnswer {
  readonly service: string
  readonly at: number
  readonly windowMs: number
  readonly coverage: CoverageSummary
  /** The document in force, with the routes of manifests; `null`: there is none. */
  readonly document: {
    readonly version: number | null
    readonly revision: number
    /** Of the processes that watch the service at this registry. */
    readonly watchers: number
    /** Those that have acknowledged {@link revision}. */
    readonly acknowledged: number
    /** As the document has them, with the wanted weights. */
    readonly routes: unknown
  } | null
  readonly routes: readonly RouteFigures[]
  /** Kinds of calls that are not listed. */
  readonly left: number
}

export function routesOf(
  service: string,
  { answers, unreachable }: Asked,
  window: { readonly at: number; readonly windowMs: number },
  state: RegistryState,
  acknowledged: (entry: ServiceEntry) => { readonly watchers: number; readonly acknowledged: number },
): RoutesAnswer {
  const { at, windowMs } = window
  const coverage = new Coverage(answers)
  const sinceMs = Math.min(windowMs, ...answers.map((one) => one.sinceMs))
  const span = { from: sinceMs, to: windowMs }
  const seconds = (windowMs - sinceMs) / 1_000
  const cells = answers.flatMap((one) => one.cells).filter(({ to, via }) => (via ?? to) === service)
  const kinds = Map.groupBy(cells, ({ protocol, method, route }) => `${protocol}\n${method}\n${route}`)
  const routes = [...kinds.values()].map((ofKind): RouteFigures => {
    const sums = new Sums()
    for (const cell of ofKind) sums.add(cell)
    const callers = new Set(ofKind.map(({ from }) => from))
    const gap = coverage.gap(
      [...callers].map((from) => (from === '' ? service : from)),
      span,
    )
    const { route = '', protocol = '', method = '' } = ofKind[0]!
    return {
      route,
      protocol,
      method,
      callers: [...callers].filter((from) => from !== '').sort(),
      ...sums.figures(seconds, gap < 1),
      versions: versionsOf(ofKind.filter(({ to }) => to === service)),
      services: servicesOf(ofKind),
      gap: rounded(gap),
    }
  })
  const sorted = routes.sort((a, b) => (b.calls ?? 0) - (a.calls ?? 0))
  const entry = state.service(service)
  const document = state.served.documentOf(service)
  return {
    service,
    at: Math.round(at),
    windowMs: windowMs - sinceMs,
    coverage: coverage.summary(answers, unreachable),
    document:
      entry === undefined || document === null
        ? null
        : {
            version: entry.policy?.document ? entry.policy.version : null,
            revision: entry.revision,
            ...acknowledged(entry),
            routes: document.routes ?? [],
          },
    routes: sorted.slice(0, MOST_ROUTES),
    left: Math.max(0, sorted.length - MOST_ROUTES),
  }
}

function servicesOf(cells: readonly Cell[]): Record<string, number> | null {
  const calls = new Map<string, number>()
  let all = 0
  for (const { to, calls: count = 0 } of cells) {
    // Copies and retries may have gone where no call ended.
    if (count === 0) continue
    calls.set(to, (calls.get(to) ?? 0) + count)
    all += count
  }
  return all === 0 ? null : Object.fromEntries([...calls].map(([to, count]) => [to, rounded(count / all)]))
}
