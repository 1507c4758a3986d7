/** `inmesh audit` (also `events`): who changed what, and who was refused and why. */
import type { Command } from 'commander'
import { serviceName } from '../options/names.ts'
import { integer } from '../options/quantities.ts'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { withExample } from './examples.ts'
import { numeric, parsed } from './flag-values.ts'
import { type CliContext, table } from './terminal.ts'
import { instant } from './times.ts'

interface AuditInfo {
  readonly at: number
  readonly who: string
  readonly source: string
  readonly action: string
  readonly outcome: 'done' | 'refused'
  readonly reason?: string
  readonly service?: string
  readonly detail?: string
}

interface AuditFlags extends ConnectionFlags {
  readonly limit: number
  readonly refused?: boolean
  readonly service?: string
}

export function addAuditCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('audit')
    .alias('events')
    .description('Print the last events of the audit log, oldest first.')
    .option('--limit <n>', 'at most so many, the newest', parsed(integer({ min: 1, max: 1_000 }), numeric), 50)
    .option('--refused', 'only what was refused')
    .option('--service <name>', 'only what concerns this service', parsed(serviceName()))
  withConnection(command)
  withExample(command, 'inmesh audit --refused --limit 20')
  command.action(async (flags: AuditFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const answer = await api.get<{ audit: AuditInfo[]; suppressed: number }>('/v1/audit')
    const events = [...answer.audit]
      .reverse()
      .filter((event) => flags.refused !== true || event.outcome === 'refused')
      .filter((event) => flags.service === undefined || event.service === flags.service)
      .slice(-flags.limit)
    terminal.result({ events, suppressed: answer.suppressed }, () =>
      events.length === 0
        ? ['no events']
        : table(
            ['AT', 'WHO', 'FROM', 'ACTION', 'OUTCOME', 'SERVICE', 'DETAIL'],
            events.map((event) => [
              instant(event.at),
              event.who,
              event.source,
              event.action,
              event.reason === undefined ? event.outcome : `${event.outcome}: ${event.reason}`,
              event.service,
              event.detail,
            ]),
          ),
    )
  })
}
