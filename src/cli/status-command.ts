/** `inmesh status`: does the registry answer, is it ready, and how much does it know. */
import type { Command } from 'commander'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { withExample } from './examples.ts'
import { EXIT, Failure } from './failure.ts'
import { type CliContext, printable } from './terminal.ts'

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
    if (status !== 200) {
      throw new Failure(EXIT.failed, 'not-ready', `the registry answers but is not ready: ${text.trim().slice(0, 200)}`)
    }
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
    terminal.result({ ready: true, ...known }, () => [
      terminal.paint('green', 'ready'),
      ...Object.entries(known).map(([key, value]) => `  ${key}: ${printable(value)}`),
    ])
  })
}
