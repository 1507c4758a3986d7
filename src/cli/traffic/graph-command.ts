/** `inmesh graph`: the service graph as a diagram. */
import { type Command, Option } from 'commander'
import { connect } from '../connection.ts'
import { withExample } from '../examples.ts'
import { invalidUsage } from '../failure.ts'
import type { CliContext } from '../terminal.ts'
import { askTraffic, type TrafficFlags, windowOf, withWindow } from './ask.ts'
import { gapsOf } from './coverage-text.ts'
import { dotOf, mermaidOf } from './diagram.ts'

const FORMATS = ['mermaid', 'dot', 'json'] as const

interface GraphFlags extends TrafficFlags {
  readonly format: (typeof FORMATS)[number]
}

export function addGraphCommand(program: Command, surroundings: CliContext): void {
  const command = withWindow(
    program
      .command('graph')
      .description('Print the service graph as a diagram: services, calls, rates, success and p99.')
      .addOption(
        new Option('--format <format>', 'mermaid, dot (Graphviz) or json').choices([...FORMATS]).default('mermaid'),
      ),
  )
  withExample(command, 'inmesh graph --format dot | dot -Tsvg > mesh.svg')
  command.action(async (flags: GraphFlags) => {
    if (flags.json === true && flags.format !== 'json' && command.getOptionValueSource('format') === 'cli') {
      throw invalidUsage(`--json excludes --format ${flags.format}; give one of the two`)
    }
    const isJson = flags.json === true || flags.format === 'json'
    const { api, terminal } = await connect(surroundings, { ...flags, json: isJson })
    const graph = await askTraffic(api, 'graph', windowOf(flags))
    terminal.result(graph, () => (flags.format === 'dot' ? dotOf(graph) : mermaidOf(graph)))
    for (const gap of gapsOf(graph, flags.window)) terminal.note(gap)
  })
}
