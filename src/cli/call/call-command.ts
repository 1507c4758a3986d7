/** `inmesh call`: joins the mesh as a developer and makes one call through the real client. */
import type { Command } from 'commander'
import { duration } from '../../options/quantities.ts'
import { joinAsDeveloper, withDeveloper } from '../developer.ts'
import { withExample } from '../examples.ts'
import { EXIT, Failure } from '../failure.ts'
import { collected, numeric, parsed, readHeader } from '../flag-values.ts'
import { checkService, readServiceUrl } from '../service-url.ts'
import { untilSignal } from '../signals.ts'
import type { CliContext } from '../terminal.ts'
import type { CallFlags, Calling } from './call-flags.ts'
import { callHttp } from './http-call.ts'
import { SeenAttempts } from './seen-attempts.ts'

const EXIT_CODES = `
Exit codes, besides those of every command: 4 the service answered with an error status; 5 the call failed without an answer.`

const WANTED = "expected a URL such as 'http://inventory/items/42' or 'grpc://inventory/shop.Inventory/Get'"

export function addCallCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('call')
    .description('Join the mesh as a developer and make one call: HTTP or gRPC, with discovery, policies and mTLS.')
    .argument('<url>', "such as 'http://inventory/items/42' or 'grpc://inventory/shop.Inventory/Get'")
    .option('-X, --request <method>', "the HTTP method (default: 'GET', with -d 'POST')")
    .option('-H, --header <header>', "a header such as 'x-user: 7'; may be repeated", collected(readHeader))
    .option('-d, --data <data>', 'the body; @file reads a file, @- stdin; of gRPC JSON, one message a line')
    .option('-i, --include', 'print status and headers before the body')
    .option(
      '--timeout <duration>',
      'of the whole call (default: that of the service)',
      parsed(duration({ min: 1, max: 86_400_000 }), numeric),
    )
    .option('--stream', 'the answer may last, such as server-sent events: the timeout ends with its head')
    .option('-v, --verbose', 'print each attempt to stderr as it ends')
    .option('--proto <file>', "of gRPC: a .proto file; may be repeated (default: ask the server's reflection)", addTo)
    .option('--import-path <dir>', 'of gRPC: where imports of .proto files are; may be repeated', addTo)
  withDeveloper(command)
  withExample(
    command,
    'inmesh call http://inventory/items/42',
    `inmesh call http://inventory/reservations -d '{"sku":"42"}' -H 'idempotency-key: 7' -v`,
    `inmesh call grpc://inventory/shop.Inventory/Get -d '{"sku":"42"}' --proto shop.proto`,
    'inmesh call http://inventory/items/42 --json | jq .attempts',
  ).addHelpText('after', EXIT_CODES)
  command.action((url: string, flags: CallFlags) => runCall(url, flags, surroundings))
}

const addTo = collected((text: string, before: readonly string[] = []): readonly string[] => [...before, text])

async function runCall(url: string, flags: CallFlags, surroundings: CliContext): Promise<void> {
  const call = await chosen(url)
  const developer = await joinAsDeveloper(surroundings, flags)
  const { mesh, service } = developer
  const stop = new AbortController()
  const end = (): void => stop.abort(new Error('interrupted'))
  const interrupted = untilSignal()
  void interrupted.signal.then(end)
  surroundings.stdout.on?.('error', end)
  const verbose = flags.verbose === true
  const say = (line: string): void => {
    if (verbose) surroundings.stderr.write(`* ${line}\n`)
  }
  say(`joined as '${service}' in ${Math.round(developer.joinMs)} ms`)
  const seen = new SeenAttempts(service, say)
  try {
    await call({ developer, flags, seen, stdin: surroundings.stdin, signal: stop.signal })
  } catch (error) {
    throw stop.signal.aborted ? new Failure(EXIT.callFailed, 'cancelled', 'interrupted') : error
  } finally {
    seen.close()
    surroundings.stdout.off?.('error', end)
    interrupted.forget()
    await mesh.close()
  }
}

/** Checks the URL before anything is sent. */
async function chosen(url: string): Promise<(calling: Calling) => Promise<void>> {
  if (/^grpc:/i.test(url)) {
    const { callGrpc, readGrpcUrl } = await import('./grpc/grpc-call.ts')
    const asked = readGrpcUrl(url)
    checkService(asked.service)
    return (calling) => callGrpc(calling, asked)
  }
  const asked = readServiceUrl(/^[a-z][a-z+.-]*:/i.test(url) ? url : `http://${url}`, WANTED)
  checkService(asked.service)
  return (calling) => callHttp(calling, asked)
}
