/** The commands for stored policies: `get`, `delete`, `history`, `rollback`. */
import type { Command } from 'commander'
import { stringify } from 'yaml'
import { MESH_DOCUMENT } from '../discovery/policy-document.ts'
import { serviceName } from '../options/names.ts'
import { integer } from '../options/quantities.ts'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { differences, formatDifference, type PolicyChange } from './differences.ts'
import { withExample } from './examples.ts'
import { numeric, parsed } from './flag-values.ts'
import { type CliContext, printable, table } from './terminal.ts'
import { instant } from './times.ts'

interface PolicyInfo {
  readonly service: string
  readonly version: number
  readonly at: number
  readonly by: string
  readonly document: Readonly<Record<string, unknown>>
}

interface PolicyVersion {
  readonly version: number
  readonly at: number
  readonly by: string
  readonly document: unknown
}

interface VersionFlag {
  readonly ifVersion?: number
}

interface RollbackFlags extends ConnectionFlags, VersionFlag {
  readonly to: number
}

/** A concurrent change since the read is not overwritten. */
export function withVersion(command: Command): Command {
  const version = parsed(integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), numeric)
  return command.option(
    '--if-version <version>',
    'only if this version is still in force (from `inmesh history`)',
    version,
  )
}

export function addPolicyCommands(program: Command, surroundings: CliContext): void {
  addGet(program, surroundings)
  addDelete(program, surroundings)
  addHistory(program, surroundings)
  addRollback(program, surroundings)
}

export const policyPath = (service: string, rest = ''): string => `/v1/policies/${encodeURIComponent(service)}${rest}`

function addGet(program: Command, surroundings: CliContext): void {
  const command = program
    .command('get')
    .description('Print policy documents as they were applied, as YAML that `apply` takes back.')
    .argument('[service]', "a service, or 'mesh'; all if left out", parsed(serviceName()))
  withConnection(command)
  withExample(command, 'inmesh get inventory', 'inmesh get > policies.yaml')
  command.action(async (service: string | undefined, flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    if (service !== undefined) {
      const info = await api.get<PolicyInfo>(policyPath(service))
      terminal.result(info, () => [asYaml(info.document)])
      return
    }
    const answer = await api.get<{ policies: PolicyInfo[] }>('/v1/policies')
    terminal.result(answer, () => {
      // The defaults of `mesh` first.
      const sorted = [...answer.policies].sort((a, b) => rank(a) - rank(b))
      return sorted.length === 0 ? [] : [sorted.map(({ document }) => asYaml(document)).join('\n---\n')]
    })
    if (answer.policies.length === 0) terminal.note('no policies')
  })
}

function rank({ service }: PolicyInfo): number {
  return service === MESH_DOCUMENT ? 0 : 1
}

function asYaml(document: unknown): string {
  return stringify(document, { lineWidth: 120 }).trimEnd()
}

function addDelete(program: Command, surroundings: CliContext): void {
  const command = program
    .command('delete')
    .description(
      "Delete a service's policy; the defaults of 'mesh' then hold. Its history stays, `rollback` undoes it.",
    )
    .argument('<service>', "a service, or 'mesh'", parsed(serviceName()))
  withConnection(withVersion(command))
  withExample(command, 'inmesh delete inventory', 'inmesh delete inventory --if-version 3')
  command.action(async (service: string, { ifVersion, ...flags }: ConnectionFlags & VersionFlag) => {
    const { api, terminal } = await connect(surroundings, flags)
    const change = await api.call<PolicyChange>('DELETE', policyPath(service), undefined, ifVersion)
    terminal.result(change, () => [`${service}: deleted`])
  })
}

function addHistory(program: Command, surroundings: CliContext): void {
  const command = program
    .command('history')
    .description("List the versions of a service's policy that the registry keeps, with what each changed.")
    .argument('<service>', "a service, or 'mesh'", parsed(serviceName()))
  withConnection(command)
  withExample(command, 'inmesh history inventory')
  command.action(async (service: string, flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const answer = await api.get<{ versions: PolicyVersion[] }>(policyPath(service, '/history'))
    terminal.result({ service, ...answer }, () => {
      const oldestFirst = [...answer.versions].sort((a, b) => a.version - b.version)
      const rows = oldestFirst.map((entry, i) => [
        entry.version,
        instant(entry.at),
        entry.by,
        describeVersion(entry, oldestFirst[i - 1]),
      ])
      return table(['VERSION', 'APPLIED', 'BY', 'CHANGE'], rows.reverse())
    })
  })
}

function describeVersion(entry: PolicyVersion, previous: PolicyVersion | undefined): string {
  if (entry.document === null) return 'deleted'
  if (previous === undefined) return entry.version === 1 ? 'created' : 'oldest kept'
  const found = differences(previous.document, entry.document)
  if (previous.document === null) return 'created'
  const shown = found.slice(0, 3).map(formatDifference).join(', ')
  return found.length > 3 ? `${shown}, and ${found.length - 3} more` : shown
}

function addRollback(program: Command, surroundings: CliContext): void {
  const command = program
    .command('rollback')
    .description('Put an earlier version of a policy in force again, as a new version.')
    .argument('<service>', "a service, or 'mesh'", parsed(serviceName()))
    .requiredOption(
      '--to <version>',
      'from `inmesh history`',
      parsed(integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), numeric),
    )
  withConnection(withVersion(command))
  withExample(command, 'inmesh rollback inventory --to 3', 'inmesh rollback inventory --to 3 --if-version 5')
  command.action(async (service: string, { to, ifVersion, ...flags }: RollbackFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const change = await api.call<PolicyChange>('POST', policyPath(service, '/rollback'), { version: to }, ifVersion)
    terminal.result({ ...change, rolledBackTo: to }, () => [
      `${service}: ${change.change === 'unchanged' ? 'already' : 'now'} as in version ${to}`,
      ...differences(change.before, change.after).map((one) => `  ${printable(formatDifference(one))}`),
    ])
  })
}
