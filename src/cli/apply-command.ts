/** `inmesh apply`: all documents of a file in one transaction, or none. */
import { type Command, InvalidArgumentError } from 'commander'
import type { Issue } from '../options/fields.ts'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import type { PolicyChange } from './differences.ts'
import { withExample } from './examples.ts'
import { EXIT, Failure, type LocatedIssue } from './failure.ts'
import { collected } from './flag-values.ts'
import type { PolicyFile } from './policy-file.ts'
import { mistakesIn } from './policy-file-failures.ts'
import { readPolicyFile } from './read-policy-file.ts'
import { type RegistryApi, RegistryRefusal } from './registry-api.ts'
import type { CliContext } from './terminal.ts'

interface ApplyFlags extends ConnectionFlags {
  readonly file: string
  readonly dryRun?: boolean
  readonly ifVersion?: Readonly<Record<string, number>>
}

export function addApplyCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('apply')
    .description('Put the policy documents and manifests of a file in force, all or none.')
    .requiredOption('-f, --file <file>', "YAML or JSON, one or more documents; '-' reads standard input")
    .option('--dry-run', 'let the registry check and compare, but change nothing')
    .option(
      '--if-version <service=version>',
      'only if this version is in force, 0 for none (from `inmesh history`); may be repeated',
      collected(readVersion),
    )
  withConnection(command)
  withExample(
    command,
    'inmesh apply -f policies.yaml',
    'inmesh apply -f policies.yaml --if-version inventory=3',
    'cat policies.yaml | inmesh apply -f - --dry-run',
  )
  command.action(async (flags: ApplyFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const dryRun = flags.dryRun === true
    const { changes, warnings } = await allOrNothing(async () => {
      const file = await readPolicyFile(flags.file, surroundings.stdin)
      return sendDocuments(api, file, dryRun, flags.ifVersion)
    })
    terminal.warn(warnings)
    terminal.result({ dryRun, changes, warnings }, () =>
      changes.map(({ service, change }) => {
        const word = change === 'created' ? terminal.paint('green', change) : change
        return `${service}: ${word}${dryRun && change !== 'unchanged' ? ' (dry run)' : ''}`
      }),
    )
  })
}

/** Adds to the mistakes of a file that none of it was applied. */
async function allOrNothing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'invalid-policy') throw error
    throw new Failure(error.exitCode, error.code, `${error.message}; nothing was applied`, error.issues)
  }
}

const VERSION = /^([a-z0-9-]{1,63}|[A-Za-z]{1,63}\/[a-z0-9-]{1,63}\/[a-z0-9.-]{1,253})=(0|[1-9]\d{0,14})$/

function readVersion(text: string, before: Readonly<Record<string, number>> = {}): Readonly<Record<string, number>> {
  const found = VERSION.exec(text)
  if (found === null) throw new InvalidArgumentError("Expected a service and a version, such as 'inventory=3'.")
  const [service, version] = [found[1]!, Number(found[2])]
  if (Object.hasOwn(before, service) && before[service] !== version) {
    throw new InvalidArgumentError(`'${service}' cannot be at version ${before[service]} and at version ${version}.`)
  }
  return { ...before, [service]: version }
}

interface Answer {
  readonly changes: readonly PolicyChange[]
  /** A registry of an older version sends none. */
  readonly warnings?: readonly Issue[]
}

interface Sent {
  readonly changes: readonly PolicyChange[]
  readonly warnings: readonly LocatedIssue[]
}

/** Mistakes and warnings that only the registry knows of are shown in the file too. */
export async function sendDocuments(
  api: RegistryApi,
  file: PolicyFile,
  dryRun: boolean,
  expected?: Readonly<Record<string, number>>,
): Promise<Sent> {
  try {
    const path = `/v1/policies${dryRun ? '?dryRun=1' : ''}`
    const body = { documents: file.documents, ...(expected !== undefined && { expected }) }
    const { changes, warnings = [] } = await api.call<Answer>('POST', path, body)
    return { changes, warnings: warnings.map((warning) => locate(file, warning)) }
  } catch (error) {
    if (!(error instanceof RegistryRefusal) || error.remoteIssues.length === 0) throw error
    const issues = error.remoteIssues.map((issue) => locate(file, issue))
    if (error.code === 'invalid-policy') throw mistakesIn(issues[0]!.file, issues)
    throw new Failure(EXIT.invalid, error.code, error.message, issues)
  }
}

/** The path of a remote issue begins with the document. */
function locate(file: PolicyFile, { path, message }: Issue): LocatedIssue {
  const [first, second, ...rest] = path
  const [index, inside] = first === 'documents' ? [Number(second), rest] : [Number(first), path.slice(1)]
  return file.locate(index, { path: inside, message })
}
