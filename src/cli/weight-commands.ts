/**
 * `inmesh split` and `inmesh switch`: other weights for the splits of a service, as a new version.
 */
import { type Command, InvalidArgumentError } from 'commander'
import { serviceName } from '../options/names.ts'
import type { WeightChange } from '../routing/reweigh.ts'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import type { PolicyChange } from './differences.ts'
import { withExample } from './examples.ts'
import { parsed } from './flag-values.ts'
import { policyPath } from './object-reference.ts'
import { noteWarnings, type Warned, withVersion } from './policy-commands.ts'
import { type CliContext, printable, table } from './terminal.ts'

interface WeightFlags extends ConnectionFlags {
  readonly dryRun?: boolean
  readonly ifVersion?: number
}

interface SwitchFlags extends WeightFlags {
  readonly route?: string
}

interface Reweighed extends PolicyChange, Warned {
  readonly version: number
  readonly routes: readonly WeightChange[]
}

const SERVICE = ['<service>', 'whose document has the route', parsed(serviceName())] as const

export function addWeightCommands(program: Command, surroundings: CliContext): void {
  addSplit(program, surroundings)
  addSwitch(program, surroundings)
}

function addSplit(program: Command, surroundings: CliContext): void {
  const command = program
    .command('split')
    .description(
      "Give targets of a route's split their shares in percent; the others share the rest in their proportions.",
    )
    .argument(...SERVICE)
    .argument('<route>', 'the name of a route with a split')
    .argument('<target=percent...>', "such as 'green=25', 'green=2.5' or 'service:inventory-eu=10'", readShare)
  withWeights(command)
  withExample(
    command,
    'inmesh split inventory item-pages green=25',
    'inmesh split inventory item-pages green=10 red=5 --dry-run',
  )
  command.action(async (service: string, route: string, shares: Shares, flags: WeightFlags) => {
    await send(surroundings, service, 'split', { route, shares }, flags)
  })
}

function addSwitch(program: Command, surroundings: CliContext): void {
  const command = program
    .command('switch')
    .description('Give all traffic to one target: of each route that has it in its split, or of one route.')
    .argument(...SERVICE)
    .argument('<target>', "a subset such as 'green', or 'service:inventory-eu'")
    .option('--route <name>', 'only this route')
  withWeights(command)
  withExample(command, 'inmesh switch inventory green', 'inmesh switch inventory blue --route item-pages')
  command.action(async (service: string, target: string, { route, ...flags }: SwitchFlags) => {
    await send(surroundings, service, 'switch', { target, ...(route !== undefined && { route }) }, flags)
  })
}

function withWeights(command: Command): void {
  command.option('--dry-run', 'show what would change, and change nothing')
  withConnection(withVersion(command))
}

async function send(
  surroundings: CliContext,
  service: string,
  what: 'split' | 'switch',
  body: object,
  { dryRun = false, ifVersion, ...flags }: WeightFlags,
): Promise<void> {
  const { api, terminal } = await connect(surroundings, flags)
  const path = policyPath(service, `/${what}${dryRun ? '?dryRun=1' : ''}`)
  const change = await api.call<Reweighed>('POST', path, body, ifVersion)
  noteWarnings(terminal, change)
  terminal.result({ dryRun, ...change }, () => {
    const version = change.change === 'unchanged' ? 'unchanged' : `version ${change.version}`
    return [
      `${service}: ${version}${dryRun && change.change !== 'unchanged' ? ' (dry run)' : ''}`,
      ...change.routes.flatMap(({ route, before, after }) => [
        `  ${printable(route)}`,
        ...shareTable(before, after).map((line) => `    ${line}`),
      ]),
    ]
  })
}

function shareTable(before: WeightChange['before'], after: WeightChange['after']): string[] {
  const rows = Object.keys(after).map((name) => [name, percent(before, name), percent(after, name)])
  return table(['TARGET', 'BEFORE', 'AFTER'], rows)
}

/** `75%`, with at most two decimals. */
function percent(weights: Readonly<Record<string, number>>, name: string): string {
  const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0)
  return `${Math.round((weights[name]! / total) * 10_000) / 100}%`
}

type Shares = Readonly<Record<string, number>>

const SHARE = /^(.+)=(\d{1,3}(?:\.\d{1,2})?)%?$/

function readShare(text: string, before: Shares = {}): Shares {
  const [, name, share] = SHARE.exec(text) ?? []
  if (name === undefined || Number(share) > 100) {
    throw new InvalidArgumentError(
      "Expected a target and its share from 0 to 100 percent, with at most two decimals, such as 'green=33.33'.",
    )
  }
  if (Object.hasOwn(before, name)) throw new InvalidArgumentError(`'${name}' is given twice.`)
  return { ...before, [name]: Number(share) }
}
