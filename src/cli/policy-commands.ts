/** The commands for stored policies: `get`, `delete`, `history`, `rollback`. */
import type { Command } from 'commander'
import { MESH_DOCUMENT } from '../discovery/mesh-document.ts'
import { formatPath, type Issue } from '../options/fields.ts'
import { integer } from '../options/quantities.ts'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { differences, formatDifference, type PolicyChange } from './differences.ts'
import { withExample } from './examples.ts'
import { numeric, parsed } from './flag-values.ts'
import { kindOf, type ObjectFlags, referenceOf, withObject } from './object-reference.ts'
import { type RegistryApi, RegistryRefusal } from './registry-api.ts'
import { type CliContext, printable, type Terminal, table } from './terminal.ts'
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

interface ManifestInfo {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly manifest: unknown
}

interface StoredFlags extends ConnectionFlags, ObjectFlags {}

interface RollbackFlags extends StoredFlags, VersionFlag {
  readonly to?: number
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

/** A registry of an older version sends no warnings. */
export interface Warned {
  readonly warnings?: readonly Issue[]
}

/** The path of a remote warning begins with the document. */
export function noteWarnings(terminal: Terminal, { warnings = [] }: Warned): void {
  for (const { path, message } of warnings) terminal.note(`warning: ${formatPath(path.slice(1))}: ${message}`)
}

export function addPolicyCommands(program: Command, surroundings: CliContext): void {
  addGet(program, surroundings)
  addDelete(program, surroundings)
  addHistory(program, surroundings)
  addRollback(program, surroundings)
}

function addGet(program: Command, surroundings: CliContext): void {
  const command = program
    .command('get')
    .description('Print policy documents and manifests as they were applied, as YAML that `apply` takes back.')
  withObject(command, '[]')
  withConnection(command)
  withExample(command, 'inmesh get inventory', 'inmesh get httproute items -n shop', 'inmesh get > policies.yaml')
  command.action(async (first: string | undefined, name: string | undefined, flags: ConnectionFlags & ObjectFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    if (first !== undefined && (name !== undefined || kindOf(first) === undefined)) {
      const info = await api.get<PolicyInfo | ManifestInfo>(referenceOf(first, name, flags).path)
      const yaml = await yamlOf([info])
      terminal.result(info, () => yaml)
      return
    }
    const manifests = await listManifests(api, first, flags)
    const policies = first === undefined ? (await api.get<{ policies: PolicyInfo[] }>('/v1/policies')).policies : []
    // The defaults of `mesh` first.
    const sorted = [...policies].sort((a, b) => rank(a) - rank(b))
    const all = [...sorted, ...manifests]
    const answer = {
      ...(first === undefined && { policies }),
      ...((first !== undefined || manifests.length > 0) && { manifests }),
    }
    const yaml = await yamlOf(all)
    terminal.result(answer, () => yaml)
    if (all.length === 0) terminal.note(first === undefined ? 'no policies' : 'no manifests')
  })
}

/** An older registry has none, and no API for them. */
async function listManifests(api: RegistryApi, kind: string | undefined, flags: ObjectFlags): Promise<ManifestInfo[]> {
  try {
    const { manifests } = await api.get<{ manifests: ManifestInfo[] }>('/v1/manifests')
    const { namespace } = flags
    return manifests.filter(
      (one) =>
        (kind === undefined || one.kind === kindOf(kind)) && (namespace === undefined || one.namespace === namespace),
    )
  } catch (error) {
    if (kind === undefined && error instanceof RegistryRefusal && error.code === 'not-found') return []
    throw error
  }
}

function written(info: PolicyInfo | ManifestInfo): unknown {
  return 'manifest' in info ? info.manifest : info.document
}

function rank({ service }: PolicyInfo): number {
  return service === MESH_DOCUMENT ? 0 : 1
}

async function yamlOf(all: readonly (PolicyInfo | ManifestInfo)[]): Promise<readonly string[]> {
  if (all.length === 0) return []
  const { stringify } = await import('yaml')
  return [all.map((info) => stringify(written(info), { lineWidth: 120 }).trimEnd()).join('\n---\n')]
}

function addDelete(program: Command, surroundings: CliContext): void {
  const command = program
    .command('delete')
    .description(
      "Delete a service's policy, so that the defaults of 'mesh' hold, or a manifest. Its history stays, `rollback` undoes it.",
    )
  withObject(command, '<>')
  withConnection(withVersion(command))
  withExample(command, 'inmesh delete inventory --if-version 3', 'inmesh delete httproute items -n shop')
  command.action(async (first: string, name: string | undefined, flags: StoredFlags & VersionFlag) => {
    const { path, label } = referenceOf(first, name, flags)
    const { api, terminal } = await connect(surroundings, flags)
    const change = await api.call<PolicyChange>('DELETE', path, undefined, flags.ifVersion)
    terminal.result(change, () => [`${label}: deleted`])
  })
}

function addHistory(program: Command, surroundings: CliContext): void {
  const command = program
    .command('history')
    .description("List the versions of a service's policy that the registry keeps, with what each changed.")
  withObject(command, '<>')
  withConnection(command)
  withExample(command, 'inmesh history inventory', 'inmesh history httproute items -n shop')
  command.action(async (first: string, name: string | undefined, flags: StoredFlags) => {
    const { path, label } = referenceOf(first, name, flags)
    const { api, terminal } = await connect(surroundings, flags)
    const answer = await api.get<{ versions: PolicyVersion[] }>(`${path}/history`)
    terminal.result({ service: label, ...answer }, () => {
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
    .option(
      '--to <version>',
      'required, from `inmesh history`',
      parsed(integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), numeric),
    )
  withObject(command, '<>')
  withConnection(withVersion(command))
  withExample(command, 'inmesh rollback inventory --to 3 --if-version 5', 'inmesh rollback httproute items --to 3')
  command.action(async (first: string, name: string | undefined, flags: RollbackFlags) => {
    const { to, ifVersion } = flags
    const { path, label } = referenceOf(first, name, flags)
    if (to === undefined) {
      const history = ['inmesh history', first, ...(name === undefined ? [] : [name])].join(' ')
      command.error(`error: required option '--to <version>' not specified; \`${history}\` lists the versions`)
    }
    const { api, terminal } = await connect(surroundings, flags)
    const change = await api.call<PolicyChange & Warned>('POST', `${path}/rollback`, { version: to }, ifVersion)
    noteWarnings(terminal, change)
    terminal.result({ ...change, rolledBackTo: to }, () => [
      `${label}: ${change.change === 'unchanged' ? 'already' : 'now'} as in version ${to}`,
      ...differences(change.before, change.after).map((one) => `  ${printable(formatDifference(one))}`),
    ])
  })
}
