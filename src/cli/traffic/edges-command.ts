/** `inmesh edges`: who calls whom, and how it goes. */
import { type Command, Option } from 'commander'
import type { Graph } from '../../registry/traffic/graph.ts'
import { connect } from '../connection.ts'
import { withExample } from '../examples.ts'
import type { CliContext } from '../terminal.ts'
import { askTraffic, type TrafficFlags, windowOf, withWindow } from './ask.ts'
import { columnNamed, EDGE_COLUMNS, EDGE_STATES, SORT_NAMES, sorted, tableOf } from './columns.ts'
import { gapsOf, windowRecord } from './coverage-text.ts'

export interface SortFlags extends TrafficFlags {
  readonly sort: string
}

export function sortOption(byDefault: string): Option {
  const choices = SORT_NAMES.join(', ')
  return new Option('--sort <column>', `the column to sort by: ${choices} (default ${byDefault})`)
    .choices([...SORT_NAMES])
    .default(byDefault)
}

export function addEdgesCommand(program: Command, surroundings: CliContext): void {
  const command = withWindow(
    program
      .command('edges')
      .description('List which services call which, with rates, success and latency.')
      .addOption(sortOption('from')),
  )
  withExample(command, 'inmesh edges', 'inmesh edges --window 10m --sort p99')
  command.action(async (flags: SortFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const graph = await askTraffic(api, 'graph', windowOf(flags))
    const edges = sorted(graph.edges, columnNamed(flags.sort))
    terminal.records(edgeRecords(graph, edges), () =>
      edges.length === 0 ? ['no calls'] : tableOf([...EDGE_COLUMNS, ...EDGE_STATES], edges),
    )
    for (const gap of gapsOf(graph, flags.window)) terminal.note(gap)
  })
}

export function edgeRecords(graph: Graph, edges: Graph['edges']): unknown[] {
  return [windowRecord(graph), ...edges.map((edge) => ({ type: 'edge', ...edge }))]
}
