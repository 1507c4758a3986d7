/** The service graph: who called whom in a window, how it went, and the state of each service. */
import { OUTSIDE } from '../../telemetry/traffic/traffic-message.ts'
import type { Leases } from '../leases.ts'
import type { ServiceEntry } from '../service-entry.ts'
import type { Asked } from './ask.ts'
import type { Cell, Part } from './cells.ts'
import { Coverage, type CoverageSummary } from './coverage.ts'
import type { MarkedState } from './marks.ts'
import { rounded } from './rounded.ts'
import { type Figures, Sums } from './sums.ts'
import { callerName } from './traffic.ts'

/** What cells of a graph are kept apart by. */
export const GRAPH_PARTS: readonly Part[] = ['version', 'tls']

/** Edges between two turns of the event loop: about 5 ms. */
const PORTION = 250

export interface GraphNode {
  readonly service: string
  /** Callers that are not of the mesh. */
  readonly outside?: true
  /** Now; `null` in the past, which is not kept. */
  readonly instances: number | null
  /** Ready to be called. */
  readonly healthy: number | null
  readonly draining: number | null
  /** Its leases do not expire. */
  readonly frozen: boolean | null
  readonly versions: Readonly<Record<string, number>> | null
  readonly zones: Readonly<Record<string, number>> | null
  /** A caller uses endpoints that it has ejected, because too few are left. */
  readonly panic: boolean
  readonly processes: number
  /** The share of the window of which nothing was heard of its processes. */
  readonly gap: number
  /** Wall clock, ms: the first of its processes' certificates to end. */
  readonly certificateEndsAt: number | null
  readonly policyVersion: number | null
}

export interface GraphEdge extends Figures {
  readonly from: string
  readonly to: string
  /** Calls that have not ended, now; `null` in the past. */
  readonly inFlight: number | null
  /** All answered calls were mutually authenticated. */
  readonly tls: boolean | null
  /** The share of calls that each version answered, of those whose version is known. */
  readonly versions: Readonly<Record<string, number>> | null
  /** The worst of its callers' circuits. */
  readonly circuit: 'closed' | 'half-open' | 'open' | null
  /** Endpoints that a caller has ejected. */
  readonly ejected: number | null
  readonly gap: number
}

export interface Graph {
  /** Wall clock, ms: the end of the window. */
  readonly at: number
  readonly windowMs: number
  readonly coverage: CoverageSummary
  readonly nodes: readonly GraphNode[]
  readonly edges: readonly GraphEdge[]
}

export interface GraphState {
  readonly services: ReadonlyMap<string, ServiceEntry>
  readonly leases: Pick<Leases, 'isFrozen'>
}

/** Lets other work of the registry go on between portions of edges. */
export async function graphOf(
  { answers, unreachable }: Asked,
  window: { readonly at: number; readonly windowMs: number; readonly isLive: boolean },
  state: GraphState,
): Promise<Graph> {
  const { at, windowMs, isLive } = window
  const coverage = new Coverage(answers)
  const sinceMs = Math.min(windowMs, ...answers.map((one) => one.sinceMs))
  const span = { from: sinceMs, to: windowMs }
  const states = answers.flatMap((one) => one.states)
  const edges = byEdge(answers.flatMap(({ cells }) => cells))
  const inFlight = new Map<string, number>()
  for (const [from, to, calls] of answers.flatMap((one) => one.inFlight)) {
    const key = keyOf(from, to)
    inFlight.set(key, (inFlight.get(key) ?? 0) + calls)
    if (isLive && !edges.has(key)) edges.set(key, [])
  }
  const serviceOf = new Map(answers.flatMap(({ processes }) => processes.map(({ name, service }) => [name, service])))
  for (const { process, to } of states) {
    const key = keyOf(serviceOf.get(process) ?? '', to)
    if (!edges.has(key)) edges.set(key, [])
  }
  const marked = Map.groupBy(states, ({ process, to }) => keyOf(serviceOf.get(process) ?? '', to))
  const found: GraphEdge[] = []
  for (const [key, cells] of edges) {
    const [from, to] = key.split('\n') as [string, string]
    const ofEdge = marked.get(key) ?? []
    found.push(
      edgeOf(from, to, cells, { coverage, span, states: ofEdge, inFlight: isLive ? (inFlight.get(key) ?? 0) : null }),
    )
    if (found.length % PORTION === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const panicking = new Set(states.filter(({ what }) => what === 'panic').map(({ to }) => to))
  const names = new Set([
    ...(isLive ? [...state.services.values()].filter(isShown).map(({ name }) => name) : []),
    ...coverage.services,
    ...found.flatMap(({ from, to }) => [from, to]),
  ])
  return {
    at: Math.round(at),
    windowMs: windowMs - sinceMs,
    coverage: coverage.summary(answers, unreachable),
    nodes: [...names]
      .sort()
      .map((name) => nodeOf(name, coverage, span, panicking.has(name), isLive ? state : undefined)),
    edges: found.sort((a, b) => (keyOf(a.from, a.to) < keyOf(b.from, b.to) ? -1 : 1)),
  }
}

interface EdgeContext {
  readonly coverage: Coverage
  readonly span: { readonly from: number; readonly to: number }
  readonly states: readonly MarkedState[]
  readonly inFlight: number | null
}

function edgeOf(from: string, to: string, cells: readonly Cell[], context: EdgeContext): GraphEdge {
  const { coverage, span, states, inFlight } = context
  const sums = new Sums()
  for (const cell of cells) sums.add(cell)
  const reporter = from === '' ? to : from
  const gap = coverage.gap([reporter], span)
  const isReporting = coverage.of(reporter).some(({ reports }) => reports)
  const circuits = states.filter(({ what }) => what === 'circuit').map(({ state }) => state)
  const ejected = new Set(states.filter(({ what }) => what === 'ejected').map(({ endpoint }) => endpoint))
  return {
    from: callerName(from),
    to,
    ...sums.figures((span.to - span.from) / 1_000, gap < 1),
    inFlight,
    tls: tlsOf(cells),
    versions: versionsOf(cells),
    circuit: !isReporting || from === '' ? null : worst(circuits),
    ejected: !isReporting || from === '' ? null : ejected.size,
    gap: rounded(gap),
  }
}

function worst(circuits: readonly string[]): 'closed' | 'half-open' | 'open' {
  if (circuits.includes('open')) return 'open'
  return circuits.includes('half-open') ? 'half-open' : 'closed'
}

/** Calls that reached no endpoint say nothing of connections. */
function tlsOf(cells: readonly Cell[]): boolean | null {
  if (cells.some(({ tls }) => tls === false)) return false
  return cells.some(({ tls }) => tls === true) ? true : null
}

export function versionsOf(cells: readonly Cell[]): Record<string, number> | null {
  const calls = new Map<string, number>()
  let all = 0
  for (const { version, calls: count = 0 } of cells) {
    if (version === undefined || count === 0) continue
    calls.set(version, (calls.get(version) ?? 0) + count)
    all += count
  }
  return all === 0 ? null : Object.fromEntries([...calls].map(([version, count]) => [version, rounded(count / all)]))
}

function nodeOf(
  service: string,
  coverage: Coverage,
  span: EdgeContext['span'],
  panic: boolean,
  state: GraphState | undefined,
): GraphNode {
  const processes = coverage.of(service)
  const entry = state?.services.get(service)
  const instances = state === undefined ? undefined : [...(entry?.instances.values() ?? [])].map((one) => one.instance)
  const ends = processes.flatMap(({ notAfter }) => (notAfter === undefined ? [] : [notAfter]))
  const ofState = (wanted: string): number | null =>
    instances === undefined ? null : instances.filter(({ state }) => state === wanted).length
  return {
    service,
    ...(service === OUTSIDE && entry === undefined && processes.length === 0 && { outside: true as const }),
    instances: instances?.length ?? null,
    healthy: ofState('ready'),
    draining: ofState('draining'),
    frozen: state?.leases.isFrozen(service) ?? null,
    versions: instances === undefined ? null : countBy(instances.map(({ version }) => version)),
    zones: instances === undefined ? null : countBy(instances.map(({ zone }) => zone)),
    panic,
    processes: processes.length,
    gap: rounded(coverage.gap([service], span)),
    certificateEndsAt: ends.length === 0 ? null : Math.min(...ends),
    policyVersion: entry?.policy?.document ? entry.policy.version : null,
  }
}

function countBy(values: readonly (string | undefined)[]): Record<string, number> {
  const counts = new Map<string, number>()
  for (const value of values) if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + 1)
  return Object.fromEntries(counts)
}

/** Not the document of the whole mesh. */
function isShown({ name, instances }: ServiceEntry): boolean {
  return name !== 'mesh' || instances.size > 0
}

function byEdge(cells: readonly Cell[]): Map<string, Cell[]> {
  const edges = new Map<string, Cell[]>()
  for (const cell of cells) {
    const key = keyOf(cell.from, cell.to)
    const known = edges.get(key)
    if (known === undefined) edges.set(key, [cell])
    else known.push(cell)
  }
  return edges
}

function keyOf(from: string, to: string): string {
  return `${from}\n${to}`
}
