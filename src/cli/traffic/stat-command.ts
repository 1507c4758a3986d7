/** `inmesh stat`: how services answer, or one of them with its instances, callers and called. */
import type { Command } from 'commander'
import { serviceName } from '../../options/names.ts'
import { didYouMean } from '../../options/nearest.ts'
import type { Graph } from '../../registry/traffic/graph.ts'
import type { ServiceFigures, ServicesAnswer } from '../../registry/traffic/services.ts'
import { connect } from '../connection.ts'
import { withExample } from '../examples.ts'
import { EXIT, Failure } from '../failure.ts'
import { parsed } from '../flag-values.ts'
import { type CliContext, printable } from '../terminal.ts'
import { askTraffic, type TrafficFlags, windowOf, withWindow } from './ask.ts'
import { type Column, EDGE_COLUMNS, EDGE_STATES, tableOf } from './columns.ts'
import { gapsOf, windowRecord } from './coverage-text.ts'
import { failures, figure, percent, ready, shares } from './figures.ts'
import { askInstances, instanceLines } from './served-instances.ts'

const COLUMNS: readonly Column<ServiceFigures>[] = [
  { title: 'SERVICE', text: ({ service }) => service },
  { title: 'READY', text: ({ healthy, instances }) => ready(healthy, instances) },
  { title: 'CALLERS', text: ({ callers }) => String(callers.length), isFigure: true },
  { title: 'CALLS/S', text: ({ perSecond }) => figure(perSecond), isFigure: true },
  { title: 'SUCCESS %', text: ({ success }) => percent(success), isFigure: true },
  { title: 'ERRORS', text: ({ calls, codes }) => (calls === null ? '-' : figure(failures(codes))), isFigure: true },
  { title: 'P50 MS', text: ({ p50 }) => figure(p50), isFigure: true },
  { title: 'P99 MS', text: ({ p99 }) => figure(p99), isFigure: true },
  { title: 'IN FLIGHT', text: ({ inFlight }) => figure(inFlight), isFigure: true },
  { title: 'GAP %', text: ({ gap }) => percent(gap), isFigure: true },
  { title: 'VERSIONS', text: ({ versions }) => shares(versions) },
  { title: 'STATE', text: stateOf },
]

export function addStatCommand(program: Command, surroundings: CliContext): void {
  const command = withWindow(
    program
      .command('stat')
      .description(
        'Show how each service answers all its callers together; of one, its instances, callers and called too.',
      )
      .argument('[service]', 'only this service', parsed(serviceName())),
  )
  withExample(command, 'inmesh stat', 'inmesh stat inventory --window 10m')
  command.action(async (service: string | undefined, flags: TrafficFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const answer = await askTraffic(api, 'services', windowOf(flags))
    const services = answer.services.filter((one) => service === undefined || one.service === service)
    if (service !== undefined && services.length === 0) throw unknown(service, answer)
    const edges = service === undefined ? [] : edgesOf(await askTraffic(api, 'graph', { ...windowOf(flags) }), service)
    const instances = service === undefined ? [] : await askInstances(api, service)
    terminal.records(
      [
        windowRecord(answer),
        ...services.map((one) => ({ type: 'service', ...one })),
        ...edges.map((edge) => ({ type: 'edge', ...edge })),
        ...instances.map((one) => ({ type: 'instance', ...one })),
      ],
      () => [
        ...(services.length === 0 ? ['no services'] : tableOf(COLUMNS, services)),
        ...section(
          'called by',
          edges.filter(({ to }) => to === service),
        ),
        ...section(
          'calls',
          edges.filter(({ from }) => from === service),
        ),
        ...instanceLines(instances),
        ...services.flatMap((one) => (service === undefined ? [] : failureLines(one))),
      ],
    )
    for (const gap of gapsOf(answer, flags.window)) terminal.note(gap)
  })
}

function edgesOf({ edges }: Graph, service: string): Graph['edges'] {
  return edges.filter(({ from, to }) => from === service || to === service)
}

function section(title: string, edges: Graph['edges']): string[] {
  if (edges.length === 0) return []
  return ['', title, ...tableOf([...EDGE_COLUMNS, ...EDGE_STATES], edges).map((line) => `  ${line}`)]
}

function failureLines({ codes }: ServiceFigures): string[] {
  const listed = Object.entries(codes).sort(([, a], [, b]) => b - a)
  if (listed.length === 0) return []
  return ['', 'failed calls', ...listed.map(([code, count]) => `  ${printable(code)}  ${figure(count)}`)]
}

function stateOf({ frozen, panic }: ServiceFigures): string {
  const parts = [...(frozen === true ? ['frozen'] : []), ...(panic ? ['panic'] : [])]
  return parts.join(', ') || 'ok'
}

function unknown(service: string, { services }: ServicesAnswer): Failure {
  const hint = didYouMean(
    service,
    services.map((one) => one.service),
  )
  return new Failure(EXIT.failed, 'not-found', `there is no service '${service}'${hint}`)
}
