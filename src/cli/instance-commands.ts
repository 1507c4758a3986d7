/** The commands of operators at run time: `instances disable|enable|weight`, and `release`. */
import type { Command } from 'commander'
import { LIMITS } from '../discovery/limits.ts'
import { text } from '../options/fields.ts'
import { INSTANCE_ID, serviceName } from '../options/names.ts'
import { integer } from '../options/quantities.ts'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { withExample } from './examples.ts'
import { numeric, parsed } from './flag-values.ts'
import { RegistryRefusal } from './registry-api.ts'
import type { CliContext } from './terminal.ts'

interface OverrideAnswer {
  readonly service: string
  readonly id: string
  readonly address: string
  readonly disabled: boolean
  readonly weight: number
  readonly ownWeight: number
  readonly changed: boolean
}

const WEIGHT = integer({ min: 0, max: 1_000 })
const ID = text("an instance id: letters, digits, '.', '_' and '-'", INSTANCE_ID, LIMITS.instanceId)

/** `instances` is the command that lists them. */
export function addInstanceCommands(instances: Command, surroundings: CliContext): void {
  const add = (name: string, description: string, example: string): Command => {
    const command = instances
      .command(name)
      .description(`${description} It holds for the address, also after a restart there, until it is taken back.`)
      .argument('<service>', 'its service', parsed(serviceName()))
      .argument('<id>', 'from `inmesh instances`', parsed(ID))
    return withExample(withConnection(command), example)
  }
  const send = async (command: Command, service: string, id: string, body: object): Promise<void> => {
    // The flags of `instances` are the same ones, and commander gives them to it wherever they
    // stand.
    const { api, terminal } = await connect(surroundings, command.optsWithGlobals<ConnectionFlags>())
    const path = `/v1/services/${encodeURIComponent(service)}/instances/${encodeURIComponent(id)}`
    const answer = await api.call<OverrideAnswer>('PUT', path, body)
    terminal.result(answer, () => [`${service} ${id}: ${answer.changed ? '' : 'already '}${describe(answer)}`])
  }
  add(
    'disable',
    'Take an instance out: it gets no new calls, and finishes those it has.',
    'inmesh instances disable inventory i-1',
  ).action((service: string, id: string, _flags, command: Command) => send(command, service, id, { disabled: true }))
  add('enable', 'Give a disabled instance calls again.', 'inmesh instances enable inventory i-1').action(
    (service: string, id: string, _flags, command: Command) => send(command, service, id, { disabled: false }),
  )
  add(
    'weight',
    'Give an instance more or fewer calls than its process asks for.',
    'inmesh instances weight inventory i-1 20',
  )
    .argument('<weight>', "0 to 1000, or 'own' for the weight that its process gives", weightOrOwn)
    .action((service: string, id: string, weight: number | 'own', _flags, command: Command) =>
      send(command, service, id, weight === 'own' ? { reset: 'weight' } : { weight }),
    )
}

function weightOrOwn(given: string): number | 'own' {
  return given === 'own' ? given : parsed(WEIGHT, numeric)(given)
}

function describe({ disabled, weight, ownWeight }: OverrideAnswer): string {
  const own = weight === ownWeight ? '' : ` (its own: ${ownWeight})`
  return `${disabled ? 'disabled' : 'enabled'}, weight ${weight}${own}`
}

export function addReleaseCommand(program: Command, surroundings: CliContext): void {
  const command = withConnection(
    program
      .command('release')
      .description('End a freeze: instances of the service whose leases are over are removed now.')
      .argument('<service>', 'from `inmesh services`', parsed(serviceName())),
  )
  withExample(command, 'inmesh release inventory')
  command.action(async (service: string, flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const answer = await release(
      api.call<{ expired: number }>('POST', `/v1/services/${encodeURIComponent(service)}/release`),
    )
    terminal.result({ service, frozen: false, ...answer }, () => [
      answer.changed ? `${service}: released, ${answer.expired} removed` : `${service}: is not frozen`,
    ])
  })
}

/** What is not frozen is as the operator wants it. */
async function release(call: Promise<{ expired: number }>): Promise<{ expired: number; changed: boolean }> {
  try {
    const { expired } = await call
    return { expired, changed: true }
  } catch (error) {
    if (error instanceof RegistryRefusal && error.code === 'conflict') return { expired: 0, changed: false }
    throw error
  }
}
