/** `inmesh deny` and `inmesh allow`: identities that the whole mesh refuses. */
import { type Command, InvalidArgumentError } from 'commander'
import { duration } from '../options/quantities.ts'
import type { DenialRecord } from '../registry/records.ts'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { withExample } from './examples.ts'
import { invalidUsage } from './failure.ts'
import { numeric, parsed } from './flag-values.ts'
import { type CliContext, table } from './terminal.ts'
import { instant } from './times.ts'

interface DenyFlags extends ConnectionFlags {
  readonly reason?: string
  readonly for?: number
  readonly list?: boolean
}

const FOR = duration({ min: 1_000, max: 3_650 * 86_400_000 })

export function addDenyCommands(program: Command, surroundings: CliContext): void {
  const deny = withConnection(
    program
      .command('deny')
      .description(
        'Deny an identity all access, at once and everywhere: its connections and sessions end, its instances leave the ' +
          'lists, and it gets no certificate and no token.',
      )
      .argument('[spiffe-id]', 'such as spiffe://inmesh.local/service/checkout')
      .option('--reason <text>', 'for the list and the audit log', sentence)
      .option('--for <duration>', "how long, such as '1h'; without end if left out", parsed(FOR, numeric))
      .option('--list', 'list the denied identities'),
  )
  withExample(
    deny,
    'inmesh deny spiffe://inmesh.local/service/checkout --reason "key stolen" --for 1h',
    'inmesh deny --list',
  )
  deny.action(async (spiffeId: string | undefined, flags: DenyFlags) => {
    const { list, reason, for: forMs, ...connection } = flags
    if (list === true && (spiffeId !== undefined || reason !== undefined || forMs !== undefined)) {
      throw invalidUsage('--list stands alone: it denies nothing')
    }
    if (list !== true && spiffeId === undefined) {
      const message = 'give the SPIFFE id to deny, such as spiffe://inmesh.local/service/checkout, or --list'
      throw invalidUsage(message)
    }
    const { api, terminal } = await connect(surroundings, connection)
    if (list === true) {
      const answer = await api.get<{ denials: DenialRecord[] }>('/v1/denials')
      terminal.result(answer, () => listed(answer.denials))
      return
    }
    const body = { spiffeId, ...(reason !== undefined && { reason }), ...(forMs !== undefined && { forMs }) }
    const answer = await api.call<DenialRecord & { change: string }>('POST', '/v1/denials', body)
    const already = answer.change === 'denied' ? '' : answer.change === 'updated' ? ' (was already)' : ' (unchanged)'
    const end = answer.until === null ? '' : ` until ${instant(answer.until)}`
    terminal.result(answer, () => [`${answer.spiffeId}: denied${end}${already}`])
  })

  const allow = withConnection(
    program
      .command('allow')
      .description('Take a denial back. Processes of the identity come back by themselves within seconds.')
      .argument('<spiffe-id>', 'from `inmesh deny --list`'),
  )
  withExample(allow, 'inmesh allow spiffe://inmesh.local/service/checkout')
  allow.action(async (spiffeId: string, flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const answer = await api.call<object>('DELETE', `/v1/denials/${encodeURIComponent(spiffeId)}`)
    terminal.result(answer, () => [`${spiffeId}: allowed`])
  })
}

function sentence(text: string): string {
  if (/^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]{1,200}$/u.test(text)) return text
  throw new InvalidArgumentError('expected one line of up to 200 characters')
}

function listed(denials: readonly DenialRecord[]): string[] {
  if (denials.length === 0) return ['no denied identities']
  return table(
    ['IDENTITY', 'SINCE', 'UNTIL', 'BY', 'REASON'],
    denials.map(({ spiffeId, at, until, by, reason = '' }) => [
      spiffeId,
      instant(at),
      until === null ? 'allowed again' : instant(until),
      by,
      reason,
    ]),
  )
}
