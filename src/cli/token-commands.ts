/**
 * `inmesh token`: manages join tokens. Each admits instances of one service, for a limited time and
 * number of uses.
 */
import { type Command, Option } from 'commander'
import { serviceName } from '../options/names.ts'
import { duration, integer } from '../options/quantities.ts'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { withExample } from './examples.ts'
import { numeric, parsed } from './flag-values.ts'
import { addOperatorCommands } from './operator-commands.ts'
import { addRepinCommand } from './repin-command.ts'
import { type CliContext, table } from './terminal.ts'
import { ago, instant } from './times.ts'

interface CreateFlags extends ConnectionFlags {
  readonly service: string
  readonly ttl: number
  readonly uses: number
}

interface TokenInfo {
  readonly id: string
  readonly service: string
  readonly uses: number
  readonly usesLeft: number
  readonly expiresAt: number
}

const TEN_MINUTES_MS = 600_000
const LONGEST_TTL_MS = 30 * 86_400_000

export function addTokenCommands(program: Command, surroundings: CliContext): void {
  const group = program.command('token').description('Make, list and revoke the join tokens with which processes join.')
  withExample(group, 'inmesh token create --service checkout --ttl 10m --uses 3')
  addCreate(group, surroundings)
  addOperatorCommands(group, surroundings)
  addRepinCommand(group, surroundings)

  const list = withConnection(
    group.command('list').description('List the join tokens; their secrets are known to nobody.'),
  )
  withExample(list, 'inmesh token list')
  list.action(async (flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const answer = await api.get<{ tokens: TokenInfo[] }>('/v1/tokens')
    terminal.result(answer, () =>
      answer.tokens.length === 0
        ? ['no tokens']
        : table(
            ['ID', 'SERVICE', 'USES LEFT', 'EXPIRES'],
            answer.tokens.map((token) => [
              token.id,
              token.service,
              `${token.usesLeft} of ${token.uses}`,
              token.expiresAt > Date.now() ? instant(token.expiresAt) : `expired ${ago(token.expiresAt)}`,
            ]),
          ),
    )
  })

  const revoke = withConnection(
    group.command('revoke').description('Make a token worthless. Who has joined with it stays in the mesh.'),
  ).argument('<id>', 'from `inmesh token list`')
  withExample(revoke, 'inmesh token revoke 3f9a1c0b7d52')
  revoke.action(async (id: string, flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    await api.call('DELETE', `/v1/tokens/${encodeURIComponent(id)}`)
    terminal.result({ id, revoked: true }, () => [`${id}: revoked`])
  })
}

function addCreate(group: Command, surroundings: CliContext): void {
  const create = group
    .command('create')
    .description('Make a join token and print it. It is shown this once.')
    .requiredOption('--service <name>', 'the service that its holder may become', parsed(serviceName()))
    .addOption(
      new Option('--ttl <duration>', "how long it is good for, such as '10m'")
        .argParser(parsed(duration({ min: 1_000, max: LONGEST_TTL_MS }), numeric))
        .default(TEN_MINUTES_MS, '10m'),
    )
    .option('--uses <n>', 'how many processes may join with it', parsed(integer({ min: 1, max: 100_000 }), numeric), 1)
  withConnection(create)
  withExample(create, 'inmesh token create --service checkout --ttl 10m --uses 3')
  create.action(async ({ service, ttl, uses, ...flags }: CreateFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const made = await api.call<{ id: string; token: string; expiresAt: number }>('POST', '/v1/tokens', {
      service,
      ttlMs: ttl,
      uses,
    })
    terminal.result({ ...made, service, uses }, () => [made.token])
    terminal.note(
      `token ${made.id}: for '${service}', ${uses} ${uses === 1 ? 'use' : 'uses'}, until ${instant(made.expiresAt)}`,
    )
  })
}
