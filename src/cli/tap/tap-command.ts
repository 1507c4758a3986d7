/** `inmesh tap`: single calls of the mesh as they end, from the processes themselves. */
import { type Command, InvalidArgumentError } from 'commander'
import { GRPC_STATUS } from '../../core/status.ts'
import { TAP_HEADER } from '../../discovery/tap/header.ts'
import { TAP_SHAPE } from '../../discovery/tap/message.ts'
import { serviceName } from '../../options/names.ts'
import { duration, integer, number } from '../../options/quantities.ts'
import type { TapRecord } from '../../registry/tap/operator-tap.ts'
import { TAP_LIMITS } from '../../telemetry/tap/tap-message.ts'
import { type ConnectionFlags, connect, withConnection } from '../connection.ts'
import { withExample } from '../examples.ts'
import { collected, numeric, parsed } from '../flag-values.ts'
import type { RegistryApi } from '../registry-api.ts'
import { untilSignal } from '../signals.ts'
import type { CliContext, Terminal } from '../terminal.ts'
import { isUnknownPath, tooOld } from '../traffic/ask.ts'
import { brokenOff, recordsOf } from './tap-records.ts'
import { beginning, busy, callLine, ending } from './tap-text.ts'

interface TapFlags extends ConnectionFlags {
  readonly from?: string
  readonly path?: string
  readonly method?: string
  readonly status?: readonly string[]
  readonly header?: readonly string[]
  readonly max: number
  readonly rate: number
  readonly for: number
}

export function addTapCommand(program: Command, surroundings: CliContext): void {
  const command = withConnection(
    program
      .command('tap')
      .description('Watch single calls to a service as they end: method, path, status, time, endpoint. Audited.')
      .argument('<service>', 'the service that is called', parsed(serviceName()))
      .option(
        '--from <service>',
        "only calls of this service; 'outside' for callers not of the mesh",
        parsed(serviceName()),
      )
      .option('--path <path>', "only this path: '/items/42', '/items/{id}' or '/items/*'", parsed(TAP_SHAPE.path))
      .option('--method <method>', "only this HTTP method, such as 'GET'", parsed(TAP_SHAPE.method, upper))
      .option(
        '--status <list>',
        "only these, by commas: '503', '5xx', 'none' (no answer came); of gRPC 'UNAVAILABLE'",
        readStatuses,
      )
      .option(
        '--header <name>',
        "show a header that 'tap.headers' of the document of 'mesh' allows; repeatable",
        collected(addHeader),
      )
      .option(
        '--max <n>',
        'end after this number of calls (default 100)',
        parsed(integer(TAP_LIMITS.calls), numeric),
        100,
      )
      .option(
        '--rate <n>',
        'calls per second of each process, at most (default 20)',
        parsed(number(TAP_LIMITS.perSecond), numeric),
        20,
      )
      .option(
        '--for <duration>',
        'end after this time: 1s to 10m (default 10m)',
        parsed(duration(TAP_LIMITS.forMs), numeric),
        TAP_LIMITS.forMs.max,
      ),
  )
  withExample(
    command,
    "inmesh tap inventory --from checkout --path '/items/*' --status 5xx --max 100",
    'inmesh tap inventory --json | jq .path',
  )
  command.action(async (service: string, flags: TapFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const stop = new AbortController()
    const end = (): void => stop.abort()
    const signal = untilSignal()
    void signal.signal.then(end)
    // The reader of a pipe has gone.
    surroundings.stdout.on?.('error', end)
    try {
      await follow(api, terminal, bodyOf(service, flags), stop.signal)
    } catch (error) {
      throw isUnknownPath(error) ? tooOld(api, '`inmesh tap`') : error
    } finally {
      surroundings.stdout.off?.('error', end)
      signal.forget()
    }
  })
}

function bodyOf(service: string, { from, path, method, status, header, max, rate, for: forMs }: TapFlags): object {
  const given = { from, path, method, statuses: status, headers: header }
  const known = Object.entries(given).filter(([, value]) => value !== undefined)
  return { service, ...Object.fromEntries(known), max, perSecond: rate, for: forMs }
}

/** @throws Failure if the registry breaks off */
async function follow(api: RegistryApi, terminal: Terminal, body: object, signal: AbortSignal): Promise<void> {
  for await (const record of recordsOf(api, body, signal)) {
    show(record, terminal)
    if (record.type === 'end' && record.why === 'closing') throw brokenOff(api, 'it stops')
  }
}

function show(record: TapRecord, terminal: Terminal): void {
  if (terminal.json) {
    if (record.type !== 'beat') terminal.records([record], () => [])
  } else if (record.type === 'tap') for (const line of beginning(record)) terminal.note(line)
  else if (record.type === 'call') terminal.records([], () => [callLine(record, terminal)])
  else if (record.type === 'busy') terminal.note(busy(record))
  else if (record.type === 'end') terminal.note(ending(record))
}

function upper(method: string): string {
  return method.toUpperCase()
}

function readStatuses(text: string): readonly string[] {
  return parsed(TAP_SHAPE.statuses, (given) => given.split(',').map((one) => statusNamed(one.trim())))(text)!
}

/** `UNAVAILABLE` is `14`. */
function statusNamed(text: string): string {
  const name = text.toUpperCase()
  return Object.hasOwn(GRPC_STATUS, name) ? String(GRPC_STATUS[name as keyof typeof GRPC_STATUS]) : text
}

function addHeader(name: string, before: readonly string[] = []): readonly string[] {
  if (before.length >= TAP_LIMITS.headers) throw new InvalidArgumentError(`At most ${TAP_LIMITS.headers}.`)
  return [...before, parsed(TAP_HEADER, (given) => given.toLowerCase())(name)]
}
