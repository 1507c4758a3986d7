/** Who is in the mesh right now: `services` and `instances`. */
import type { Command } from 'commander'
import type { Instance } from '../discovery/instance.ts'
import { serviceName } from '../options/names.ts'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { withExample } from './examples.ts'
import { parsed } from './flag-values.ts'
import { addInstanceCommands } from './instance-commands.ts'
import { type CliContext, table } from './terminal.ts'

interface ServiceInfo {
  readonly service: string
  readonly instances: number
  readonly ready: number
  readonly policyVersion: number | null
  readonly frozen: boolean
}

interface ServiceDetail {
  readonly service: string
  readonly instances: readonly ListedInstance[]
}

interface ListedInstance extends Instance {
  /** What an operator decided. */
  readonly override?: { readonly disabled: boolean; readonly weight: number | null }
  /** What the process itself says. */
  readonly own?: { readonly weight: number }
}

export function addInventoryCommands(program: Command, surroundings: CliContext): void {
  const services = withConnection(
    program.command('services').description('List the services that the registry knows, with their instances counted.'),
  )
  withExample(services, 'inmesh services', 'inmesh services --json')
  services.action(async (flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const answer = await api.get<{ services: ServiceInfo[] }>('/v1/services')
    terminal.result(answer, () =>
      answer.services.length === 0
        ? ['no services']
        : table(
            ['SERVICE', 'READY', 'INSTANCES', 'POLICY', 'STATE'],
            answer.services.map((one) => [
              one.service,
              one.ready,
              one.instances,
              one.policyVersion === null ? 'none' : `version ${one.policyVersion}`,
              one.frozen ? 'frozen: nothing expires' : 'ok',
            ]),
          ),
    )
  })

  const instances = program
    .command('instances')
    .description('List the instances of one service, or of all.')
    .argument('[service]', 'only this service', parsed(serviceName()))
  withConnection(instances)
  addInstanceCommands(instances, surroundings)
  withExample(instances, 'inmesh instances inventory')
  instances.action(async (service: string | undefined, flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const names =
      service !== undefined
        ? [service]
        : (await api.get<{ services: ServiceInfo[] }>('/v1/services')).services.map((one) => one.service)
    const found: ListedInstance[] = []
    for (const name of names) {
      found.push(...(await api.get<ServiceDetail>(`/v1/services/${encodeURIComponent(name)}`)).instances)
    }
    terminal.result({ instances: found }, () =>
      found.length === 0
        ? ['no instances']
        : table(
            ['SERVICE', 'ID', 'ADDRESS', 'PROTOCOL', 'TLS', 'STATE', 'ZONE', 'VERSION', 'WEIGHT', 'TRANSPORTS'],
            found.map((one) => [
              one.service,
              one.id,
              `${one.address.includes(':') ? `[${one.address}]` : one.address}:${one.port}`,
              one.protocol,
              one.tls ? 'mTLS' : 'none',
              one.override?.disabled === true ? 'disabled' : one.state,
              one.zone,
              one.version,
              weightOf(one),
              one.transports?.join(' '),
            ]),
          ),
    )
  })
}

function weightOf({ weight, override, own }: ListedInstance): string {
  return override === undefined || override.weight === null ? String(weight) : `${weight} (own ${own?.weight})`
}
