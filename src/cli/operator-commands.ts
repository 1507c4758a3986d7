/** `inmesh token operator`: the tokens with which people and pipelines command the registry. */
import type { Command } from 'commander'
import { text } from '../options/fields.ts'
import { duration } from '../options/quantities.ts'
import type { OperatorRecord } from '../registry/records.ts'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { withExample } from './examples.ts'
import { numeric, parsed } from './flag-values.ts'
import { type CliContext, table } from './terminal.ts'
import { ago, instant } from './times.ts'

interface CreateFlags extends ConnectionFlags {
  readonly readOnly?: boolean
  readonly ttl?: number
}

const NAME = text("a name: letters, digits, '.', '_', '@' and '-'", /^[A-Za-z0-9][A-Za-z0-9._@-]*$/, 63)
const OVERLAP = duration({ min: 0, max: 30 * 86_400_000 })
const TTL = duration({ min: 1_000, max: 3_650 * 86_400_000 })

export function addOperatorCommands(token: Command, surroundings: CliContext): void {
  const group = token
    .command('operator')
    .description(
      'Make, list and revoke the tokens of operators. To rotate one, create another, then revoke the old one.',
    )
  withExample(group, 'inmesh token operator create alice')

  const create = withConnection(
    group
      .command('create')
      .description(
        'Make a token for an operator, whose name stands in the audit log, and print it. It is shown this once.',
      )
      .argument('<name>', 'such as a person or a pipeline', parsed(NAME))
      .option('--read-only', 'it may read everything and change nothing')
      .option(
        '--ttl <duration>',
        "how long it is good for, such as '90d'; without end if left out",
        parsed(TTL, numeric),
      ),
  )
  withExample(
    create,
    'inmesh token operator create alice',
    'inmesh token operator create dashboard --read-only --ttl 90d',
  )
  create.action(async (name: string, { readOnly, ttl, ...flags }: CreateFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const body = { name, access: readOnly === true ? 'read' : 'admin', ...(ttl !== undefined && { ttlMs: ttl }) }
    const answer = await api.call<OperatorRecord & { token: string }>('POST', '/v1/operators', body)
    terminal.result(answer, () => [answer.token])
  })

  const list = withConnection(
    group.command('list').description('List the operators; their secrets are known to nobody.'),
  )
  withExample(list, 'inmesh token operator list')
  list.action(async (flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const answer = await api.get<{ operators: OperatorRecord[] }>('/v1/operators')
    terminal.result(answer, () =>
      table(
        ['ID', 'NAME', 'MAY', 'MADE', 'BY', 'EXPIRES'],
        answer.operators.map((one) => [
          one.id,
          one.name,
          one.access === 'admin' ? 'change' : 'read',
          one.createdAt === 0 ? 'at the first start' : instant(one.createdAt),
          one.by,
          one.expiresAt === null
            ? 'never'
            : one.expiresAt > Date.now()
              ? instant(one.expiresAt)
              : `expired ${ago(one.expiresAt)}`,
        ]),
      ),
    )
  })

  const revoke = withConnection(
    group.command('revoke').description('Make an operator token worthless, at once.'),
  ).argument('<id>', "from `inmesh token operator list`; 'admin' is the one of the first start")
  withExample(revoke, 'inmesh token operator revoke 3f9a1c0b7d52')
  revoke.action(async (id: string, flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const answer = await api.call<{ name: string }>('DELETE', `/v1/operators/${encodeURIComponent(id)}`)
    terminal.result({ id, ...answer, revoked: true }, () => [`${id}: revoked (${answer.name})`])
  })

  addRotate(group, surroundings)
}

function addRotate(group: Command, surroundings: CliContext): void {
  const rotate = withConnection(
    group
      .command('rotate')
      .description('Give an operator another token with the same rights, and print it. It is shown this once.')
      .argument('<id>', "from `inmesh token operator list`; 'admin' is the one of the first start")
      .option('--overlap <duration>', 'how long the former one is good for, such as 1h', parsed(OVERLAP, numeric), 0),
  )
  withExample(rotate, 'inmesh token operator rotate 3f9a1c0b7d52 --overlap 1h')
  rotate.action(async (id: string, { overlap, ...flags }: ConnectionFlags & { readonly overlap: number }) => {
    const { api, terminal } = await connect(surroundings, flags)
    const path = `/v1/operators/${encodeURIComponent(id)}/rotate`
    const answer = await api.call<OperatorRecord & { token: string }>('POST', path, { overlapMs: overlap })
    terminal.result(answer, () => [answer.token])
  })
}
