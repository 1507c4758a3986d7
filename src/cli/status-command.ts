/** `inmesh status`: does the registry answer, is it ready, and how much does it know. */
import type { Command } from 'commander'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { withExample } from './examples.ts'
import { EXIT, Failure } from './failure.ts'
import { RegistryRefusal } from './registry-api.ts'
import { printable, type Surroundings } from './terminal.ts'

export function addStatusCommand(program: Command, surroundings: Surroundings): void {
  const command = program
    .command('status')
    .description('Tell whether the registry is ready, and what it knows. Exit code 0 only if it is.')
  withConnection(command)
  withExample(command, 'inmesh status --json')
  command.action(async (flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    let status: Record<string, unknown>
    try {
      status = await api.get<Record<string, unknown>>('/readyz')
    } catch (error) {
      if (error instanceof RegistryRefusal && error.status === 503) {
        throw new Failure(EXIT.failed, 'not-ready', `the registry answers but is not ready: ${error.message}`)
      }
      throw error
    }
    terminal.result({ ready: true, ...status }, () => [
      'the registry is ready',
      ...Object.entries(status)
        .filter(([, value]) => typeof value !== 'object' || value === null)
        .map(([key, value]) => `  ${printable(key)}: ${printable(value)}`),
    ])
  })
}
