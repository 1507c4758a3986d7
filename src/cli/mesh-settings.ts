/** Settings of a mesh that a command joins. Errors name variables, and not code of a service. */
import type { MeshOptions, MeshSettings } from '../mesh/options.ts'
import { describeIssue, OptionsError } from '../options/fields.ts'
import { EXIT, Failure } from './failure.ts'
import type { CliContext } from './terminal.ts'

interface CommandOptions extends MeshOptions {
  readonly registry: readonly string[]
}

/** @throws Failure with each wrong variable or flag */
export async function meshSettings(options: CommandOptions, env: CliContext['env']): Promise<MeshSettings> {
  const { resolveMeshOptions } = await import('../mesh/resolve-options.ts')
  const [only, ...more] = options.registry
  // An error shows a single address as it was given.
  const registry = more.length === 0 && only !== undefined ? only : options.registry
  try {
    return resolveMeshOptions({ ...options, registry }, env as NodeJS.ProcessEnv)
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error
    throw new Failure(EXIT.invalid, error.code, error.issues.map(describeIssue).join('; '))
  }
}
