/** `inmesh routes`: the calls of services by route, with the weights as wanted and as served. */
import type { Command } from 'commander'
import { serviceName } from '../../options/names.ts'
import type { Graph } from '../../registry/traffic/graph.ts'
import type { RouteFigures, RoutesAnswer } from '../../registry/traffic/routes.ts'
import { connect } from '../connection.ts'
import { withExample } from '../examples.ts'
import { parsed } from '../flag-values.ts'
import type { RegistryApi } from '../registry-api.ts'
import { type CliContext, printable } from '../terminal.ts'
import { askTraffic, type TrafficFlags, windowOf, withWindow } from './ask.ts'
import { type Column, tableOf } from './columns.ts'
import { gapsOf, windowRecord } from './coverage-text.ts'
import { figure, percent, shares } from './figures.ts'

interface Row extends RouteFigures {
  readonly service: string
  /** As the document has them. */
  readonly wanted: Readonly<Record<string, number>> | null
}

/** Questions, each over its own connection. */
const AT_ONCE = 8

const COLUMNS: readonly Column<Row>[] = [
  { title: 'SERVICE', text: ({ service }) => service },
  { title: 'ROUTE', text: ({ route }) => route || '(none)' },
  { title: 'PROTOCOL', text: ({ protocol }) => protocol || '-' },
  { title: 'METHOD', text: ({ method }) => method || '-' },
  { title: 'CALLS/S', text: ({ perSecond }) => figure(perSecond), isFigure: true },
  { title: 'SUCCESS %', text: ({ success }) => percent(success), isFigure: true },
  { title: 'P50 MS', text: ({ p50 }) => figure(p50), isFigure: true },
  { title: 'P99 MS', text: ({ p99 }) => figure(p99), isFigure: true },
  { title: 'GAP %', text: ({ gap }) => percent(gap), isFigure: true },
  { title: 'WANTED', text: ({ wanted }) => shares(wanted) },
  { title: 'VERSIONS', text: ({ versions }) => shares(versions) },
  { title: 'CALLERS', text: ({ callers }) => callers.join(', ') || '-' },
]

export function addRoutesCommand(program: Command, surroundings: CliContext): void {
  const command = withWindow(
    program
      .command('routes')
      .description('List the calls of a service by route, or of all services.')
      .argument('[service]', 'only this service', parsed(serviceName())),
  )
  withExample(command, 'inmesh routes inventory', 'inmesh routes --window 10m --json')
  command.action(async (service: string | undefined, flags: TrafficFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const graph = await askTraffic(api, 'graph', windowOf(flags))
    const names = service === undefined ? calledIn(graph) : [service]
    const answers: RoutesAnswer[] = []
    for (let from = 0; from < names.length; from += AT_ONCE) {
      const some = names.slice(from, from + AT_ONCE)
      answers.push(...(await Promise.all(some.map((name) => routesOf(api, name, flags)))))
    }
    const rows = answers.flatMap(rowsOf)
    const left = answers
      .filter((answer) => answer.left > 0)
      .map((answer) => `${printable(answer.service)}: ${answer.left} kinds of calls more`)
    terminal.records([windowRecord(graph), ...rows.map((row) => ({ type: 'route', ...row }))], () =>
      rows.length === 0 ? ['no calls'] : tableOf(COLUMNS, rows),
    )
    for (const remark of [...left, ...gapsOf(graph, flags.window)]) terminal.note(remark)
  })
}

function calledIn({ edges }: Graph): string[] {
  return [...new Set(edges.map(({ to }) => to))].sort()
}

function routesOf(api: RegistryApi, service: string, flags: TrafficFlags): Promise<RoutesAnswer> {
  return askTraffic(api, 'routes', { ...windowOf(flags), service })
}

function rowsOf({ service, routes, document }: RoutesAnswer): Row[] {
  return routes.map((route) => ({ service, ...route, wanted: wantedOf(document?.routes, route.route) }))
}

/** The shares of a route's targets; `null`: it has no split, or is not the document's. */
function wantedOf(routes: unknown, name: string): Readonly<Record<string, number>> | null {
  const written = Array.isArray(routes) ? (routes as readonly unknown[]) : []
  const found = written.find((one) => (one as { name?: unknown } | null)?.name === name) as
    | { readonly split?: readonly ({ readonly to?: unknown; readonly weight?: unknown } | null)[] }
    | undefined
  if (!Array.isArray(found?.split)) return null
  const weights = found.split.map((one) => [nameOf(one?.to), Number(one?.weight) || 0] as const)
  const all = weights.reduce((sum, [, weight]) => sum + weight, 0)
  return all === 0 ? null : Object.fromEntries(weights.map(([to, weight]) => [to, weight / all]))
}

/** `green`, or `service:inventory-eu` as `inmesh split` writes it. */
function nameOf(to: unknown): string {
  if (typeof to === 'string') return to
  const { service, subset } = (to ?? {}) as { service?: unknown; subset?: unknown }
  if (typeof service !== 'string') return String(subset ?? '-')
  return typeof subset === 'string' ? `service:${service}/${subset}` : `service:${service}`
}
