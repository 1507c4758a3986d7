/** `inmesh status`: does the registry answer, is it ready, and how much does it know. */
import type { Command } from 'commander'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { withExample } from './examples.ts'
import { EXIT, Failure } from './failure.ts'
import { type RegistryApi, RegistryRefusal } from './registry-api.ts'
import { type CliContext, printable, table } from './terminal.ts'

interface Bundle {
  readonly trustDomain: string
  readonly sequence: number
}

interface ServiceList {
  readonly epoch: string
  readonly revision: number
  readonly services: readonly { readonly instances: number; readonly ready: number; readonly frozen: boolean }[]
}

export function addStatusCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('status')
    .description('Tell whether the registry is ready, and what it knows. Exit code 0 only if it is.')
  withConnection(command)
  withExample(command, 'inmesh status --json')
  command.action(async (flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const { status, text } = await api.probe('/readyz')
    const reason = status === 200 ? undefined : text.trim().slice(0, 200)
    const notReady = new Failure(EXIT.failed, 'not-ready', `the registry answers but is not ready: ${reason}`)
    // While only its store is away it goes on answering, and tells of the others.
    if (reason !== undefined && !reason.startsWith('degraded')) throw notReady
    const { trustDomain, sequence } = await api.get<Bundle>('/v1/bundle')
    const { epoch, revision, services } = await api.get<ServiceList>('/v1/services')
    const count = (of: (one: ServiceList['services'][number]) => number): number =>
      services.reduce((sum, one) => sum + of(one), 0)
    const known = {
      url: api.url,
      trustDomain,
      bundleSequence: sequence,
      epoch,
      revision,
      services: services.length,
      instances: count((one) => one.instances),
      readyInstances: count((one) => one.ready),
      frozenServices: count((one) => (one.frozen ? 1 : 0)),
    }
    const registries = await listRegistries(api)
    const ready = reason === undefined
    terminal.result({ ready, ...(reason !== undefined && { reason }), ...known, registries }, () => [
      ready ? terminal.paint('green', 'ready') : terminal.paint('yellow', printable(reason)),
      ...Object.entries(known).map(([key, value]) => `  ${key}: ${printable(value)}`),
      ...table(COLUMNS, registries.map(rowOf)),
    ])
    if (!ready) throw notReady
  })
}

/** One that does not answer is known by what it announced only. */
interface ListedRegistry {
  readonly id: string
  readonly url: string
  readonly version: string
  readonly sessions: number
  readonly reachable: boolean
  readonly reason?: string
  readonly roles?: readonly string[]
  readonly revision?: number
  /** Revisions behind the newest; `null`: it is in another epoch. */
  readonly lag?: number | null
}

const COLUMNS = ['REGISTRY', 'URL', 'VERSION', 'ROLE', 'SESSIONS', 'REVISION', 'LAG', 'STATE']

/** Empty from a registry that knows no others yet, or for a caller who may not see them. */
async function listRegistries(api: RegistryApi): Promise<readonly ListedRegistry[]> {
  try {
    return (await api.get<{ registries: readonly ListedRegistry[] }>('/v1/registries')).registries
  } catch (error) {
    if (error instanceof RegistryRefusal) return []
    throw error
  }
}

function rowOf({ id, url, version, sessions, reachable, reason, roles, revision, lag }: ListedRegistry): string[] {
  const state = reason ?? (reachable ? 'ready' : 'no answer')
  const role = roles === undefined || roles.length === 0 ? '-' : roles.join(', ')
  return [id, url, version, role, String(sessions), printable(revision), printable(lag), state]
}
