/** `inmesh apply`: all documents of a file in one transaction, or none. */
import type { Command } from 'commander'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import type { PolicyChange } from './differences.ts'
import { withExample } from './examples.ts'
import { EXIT, Failure } from './failure.ts'
import { type PolicyFile, readPolicyFile } from './policy-file.ts'
import { type RegistryApi, RegistryRefusal } from './registry-api.ts'
import type { Surroundings } from './terminal.ts'

interface ApplyFlags extends ConnectionFlags {
  readonly file: string
  readonly dryRun?: boolean
}

export function addApplyCommand(program: Command, surroundings: Surroundings): void {
  const command = program
    .command('apply')
    .description('Put the policy documents of a file in force, all or none.')
    .requiredOption('-f, --file <file>', "YAML or JSON, one or more documents; '-' reads standard input")
    .option('--dry-run', 'let the registry check and compare, but change nothing')
  withConnection(command)
  withExample(command, 'inmesh apply -f policies.yaml', 'cat policies.yaml | inmesh apply -f - --dry-run')
  command.action(async (flags: ApplyFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const file = await readPolicyFile(flags.file, surroundings.stdin)
    const dryRun = flags.dryRun === true
    const changes = await sendDocuments(api, file, dryRun)
    terminal.result({ dryRun, changes }, () =>
      changes.map(({ service, change }) => {
        const word = change === 'created' ? terminal.paint('green', change) : change
        return `${service}: ${word}${dryRun && change !== 'unchanged' ? ' (dry run)' : ''}`
      }),
    )
  })
}

/** Mistakes that only the registry knows of are shown in the file too. */
export async function sendDocuments(
  api: RegistryApi,
  file: PolicyFile,
  dryRun: boolean,
): Promise<readonly PolicyChange[]> {
  try {
    const path = `/v1/policies${dryRun ? '?dryRun=1' : ''}`
    const { changes } = await api.call<{ changes: PolicyChange[] }>('POST', path, { documents: file.documents })
    return changes
  } catch (error) {
    if (!(error instanceof RegistryRefusal) || error.remoteIssues.length === 0) throw error
    const issues = error.remoteIssues.map((issue) => {
      const [first, second, ...rest] = issue.path
      const [index, path] = first === 'documents' ? [Number(second), rest] : [Number(first), issue.path.slice(1)]
      return file.locate(index, { path, message: issue.message })
    })
    throw new Failure(EXIT.invalid, error.code, error.message, issues)
  }
}
